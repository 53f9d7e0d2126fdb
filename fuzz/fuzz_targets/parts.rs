#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::parts`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::parts::check(bytes));
