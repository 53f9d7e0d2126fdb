#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::postgres`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::postgres::check(bytes));
