#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::segment`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::segment::check(bytes));
