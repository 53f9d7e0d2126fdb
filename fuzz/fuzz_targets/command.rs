#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::command`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::command::check(bytes));
