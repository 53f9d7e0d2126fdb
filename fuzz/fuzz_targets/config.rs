#![no_main]
//! libFuzzer's door to `seawall_fuzz::config`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::config::check(bytes));
