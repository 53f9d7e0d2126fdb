#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::envelope`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::envelope::check(bytes));
