//! Our IPVS decoder and encoder against another's reading of the same bytes: of
//! what kernels and ipvsadm said, and of that with bytes changed. The fuzz
//! target `ipvs_oracle` goes further.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

#[path = "../../fuzz/src/ipvs_oracle.rs"]
mod ipvs_oracle;

use ipvs_oracle::decode_both;
use trunnion_tests::golden;
use trunnion_tests::sim::Random;

/// Every golden file as a datagram: recorded requests have no netlink header.
fn recorded() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(golden::directory("ipvs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "hex") {
            let body = golden::bytes(&golden::text(&path));
            let len = u32::from_ne_bytes(body[..4].try_into().unwrap());
            if (16..=body.len()).contains(&(len as usize)) {
                all.push(body);
                continue;
            }
            let len = u32::try_from(body.len() + 16).unwrap();
            let mut message = len.to_ne_bytes().to_vec();
            message.extend([0x1e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
            message.extend(body);
            all.push(message);
        }
    }
    all
}

#[test]
fn what_was_recorded_reads_the_same_to_both() {
    let rows: usize = recorded().iter().map(|bytes| decode_both(bytes)).sum();
    assert!(rows >= 60, "{rows}");
}

#[test]
fn changed_bytes_read_the_same_to_both() {
    let mut random = Random::new(7);
    let (recorded, mut rows) = (recorded(), 0);
    for _ in 0..4000 {
        let mut bytes = recorded[random.index(recorded.len())].clone();
        for _ in 0..=random.index(4) {
            let at = random.index(bytes.len());
            bytes[at] = random.small(0, 255);
        }
        if random.chance(100) {
            bytes.truncate(random.index(bytes.len()));
        }
        rows += decode_both(&bytes);
    }
    assert!(rows >= 1000, "{rows}");
}

#[test]
fn what_the_fuzzer_kept_reads_the_same_to_both() {
    let mut files = 0;
    for target in ["ipvs_decode", "ipvs_oracle"] {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");
        for entry in std::fs::read_dir(format!("{corpus}/{target}")).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            decode_both(&bytes);
            trunnion_core::ipvs::laws::decode_any(&bytes);
            files += 1;
        }
    }
    assert!(files >= 100, "{files}");
}
