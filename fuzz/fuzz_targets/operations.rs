#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::operations`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::operations::check(bytes));
