#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::head`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::head::check(bytes));
