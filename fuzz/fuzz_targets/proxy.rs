#![no_main]
//! libFuzzer's door to `seawall_fuzz::proxy`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::proxy::check(bytes));
