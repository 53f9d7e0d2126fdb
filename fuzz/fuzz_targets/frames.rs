#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::frames`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::frames::check(bytes));
