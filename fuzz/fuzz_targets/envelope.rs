#![no_main]
//! libFuzzer's door to `seawall_fuzz::envelope`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seawall_fuzz::envelope::check(bytes));
