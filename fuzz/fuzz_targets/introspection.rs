#![no_main]
//! The libFuzzer entry point of `seawall_fuzz::introspection`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::introspection::check(bytes));
