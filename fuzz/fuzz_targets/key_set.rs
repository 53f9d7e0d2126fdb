#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::key_set`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::key_set::check(bytes));
