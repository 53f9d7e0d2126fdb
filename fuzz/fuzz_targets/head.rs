#![no_main]
//! libFuzzer's door to `seawall_fuzz::head`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::head::check(bytes));
