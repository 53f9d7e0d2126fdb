#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::api`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::api::check(bytes));
