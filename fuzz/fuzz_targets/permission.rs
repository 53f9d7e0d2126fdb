#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::permission`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::permission::check(bytes));
