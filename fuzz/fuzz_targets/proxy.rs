#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::proxy`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::proxy::check(bytes));
