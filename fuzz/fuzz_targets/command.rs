#![no_main]
//! libFuzzer's door to `seawall_fuzz::command`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::command::check(bytes));
