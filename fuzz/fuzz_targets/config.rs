#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::config`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::config::check(bytes));
