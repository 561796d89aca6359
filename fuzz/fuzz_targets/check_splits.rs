#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    trunnion_core::check::engine::laws::any_split(bytes);
});
