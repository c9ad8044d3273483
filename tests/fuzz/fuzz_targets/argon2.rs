#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| backoffice_auth_fuzz::argon2::holds(data));
