#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::redis`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::redis::check(bytes));
