#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    trunnion_fuzz::ipvs_oracle::decode_both(bytes);
});
