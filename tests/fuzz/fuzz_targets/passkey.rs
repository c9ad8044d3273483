#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| backoffice_auth_fuzz::passkey::holds(data));
