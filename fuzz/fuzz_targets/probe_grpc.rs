#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    trunnion_core::check::probe::laws::grpc(bytes);
});
