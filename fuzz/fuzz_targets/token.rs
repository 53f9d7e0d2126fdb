#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::token`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::token::check(bytes));
