#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::admin`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::admin::check(bytes));
