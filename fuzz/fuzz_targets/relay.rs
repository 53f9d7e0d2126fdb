#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::relay`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::relay::check(bytes));
