#![no_main]
//! libFuzzer's door to `seawall_fuzz::operations`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::operations::check(bytes));
