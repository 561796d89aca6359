use super::*;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// A path in a directory of its own, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("slate-{name}-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn open(&self, layout: u64, boot: u64, cells: usize) -> io::Result<(Slate, Found)> {
        Slate::open(&self.0.join("slate"), layout, boot, cells)
    }

    fn file(&self) -> File {
        let path = self.0.join("slate");
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const A: Words = [1, 2, 3, 4, 5, 6];
const B: Words = [u64::MAX, 0, 7, 7, 7, 7];

#[test]
fn the_next_run_reads_what_the_last_one_wrote() {
    let place = Place::new("next");
    let (mut slate, found) = place.open(1, 10, 3).unwrap();
    assert_eq!(found, Found::Nothing);
    assert_eq!(slate.read(0), None);
    assert!(slate.write(0, A) && slate.write(2, B) && slate.write(2, A));
    assert!(slate.write(1, B));
    slate.clear(1);
    assert!(!slate.write(3, A), "no such cell");
    assert_eq!((slate.read(0), slate.read(3)), (Some(A), None));
    drop(slate);
    let (slate, found) = place.open(1, 10, 3).unwrap();
    assert_eq!(found, Found::Earlier);
    let cells: Vec<_> = (0..slate.len()).map(|i| slate.read(i)).collect();
    assert_eq!(cells, [Some(A), None, Some(A)]);
}

#[test]
fn all_zero_words_are_words() {
    let place = Place::new("zero");
    let (mut slate, _) = place.open(1, 10, 1).unwrap();
    assert!(slate.write(0, [0; WORDS]));
    assert_eq!(slate.read(0), Some([0; WORDS]));
}

#[test]
fn another_boot_layout_or_size_starts_anew() {
    for (layout, boot, cells, expected) in [
        (1, 11, 3, Found::OtherBoot),
        (2, 10, 3, Found::OtherLayout),
        (1, 10, 2, Found::OtherLayout),
        (1, 10, 400, Found::OtherLayout),
    ] {
        let place = Place::new("other");
        let (mut slate, _) = place.open(1, 10, 3).unwrap();
        assert!(slate.write(0, A));
        drop(slate);
        let (slate, found) = place.open(layout, boot, cells).unwrap();
        assert_eq!(found, expected);
        assert!((0..cells).all(|i| slate.read(i).is_none()));
        drop(slate);
        let (_, found) = place.open(layout, boot, cells).unwrap();
        assert_eq!(found, Found::Earlier, "what was wiped is ours");
    }
}

#[test]
fn a_file_that_is_no_slate_is_wiped() {
    let place = Place::new("noise");
    std::fs::write(place.0.join("slate"), [0xa5; 256]).unwrap();
    let (slate, found) = place.open(1, 10, 3).unwrap();
    assert_eq!(found, Found::OtherLayout);
    assert_eq!(slate.read(0), None);
}

#[test]
fn one_at_a_time() {
    let place = Place::new("lock");
    let first = place.open(1, 10, 3).unwrap();
    let second = place.open(1, 10, 3).unwrap_err();
    assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
    drop(first);
    assert!(place.open(1, 10, 3).is_ok());
    assert!(place.open(1, 10, 0).is_err());
    assert!(place.open(1, 10, CELLS_MAX + 1).is_err());
}

#[test]
fn an_heir_keeps_the_lock_and_writes_on() {
    let place = Place::new("heir");
    let (mut slate, _) = place.open(1, 10, 3).unwrap();
    assert!(slate.write(1, A));
    let shared = slate.share().unwrap();
    assert!(Slate::inherit(slate.share().unwrap(), 2).is_err(), "layout");
    drop(slate);
    let mut heir = Slate::inherit(shared, 1).unwrap();
    assert_eq!((heir.len(), heir.read(1)), (3, Some(A)));
    let refused = place.open(1, 10, 3).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    assert!(heir.write(1, B));
    drop(heir);
    let (slate, found) = place.open(1, 10, 3).unwrap();
    assert_eq!((found, slate.read(1)), (Found::Earlier, Some(B)));
}

#[test]
fn a_link_is_not_followed() {
    let place = Place::new("link");
    std::os::unix::fs::symlink("/etc/hostname", place.0.join("slate")).unwrap();
    let error = place.open(1, 10, 3).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
}

#[test]
fn every_torn_write_reads_as_nothing_and_can_be_written_over() {
    // The bytes of cell 0 before and after a write.
    let place = Place::new("torn");
    let (mut slate, _) = place.open(1, 10, 1).unwrap();
    let cell = |file: &File| {
        let mut bytes = [0_u8; 64];
        file.read_exact_at(&mut bytes, 64).unwrap();
        bytes
    };
    assert!(slate.write(0, A));
    let before = cell(&place.file());
    assert!(slate.write(0, B));
    let after = cell(&place.file());
    drop(slate);
    // A crash leaves any mixture of old and new words, and an odd version.
    let mut whole = 0;
    for mixture in 0..256_usize {
        let mut bytes = before;
        for word in 0..8 {
            if mixture & (1 << word) != 0 {
                bytes[word * 8..][..8].copy_from_slice(&after[word * 8..][..8]);
            }
        }
        for odd in [false, true] {
            let mut bytes = bytes;
            bytes[0] |= u8::from(odd);
            place.file().write_all_at(&bytes, 64).unwrap();
            let (mut slate, found) = place.open(1, 10, 1).unwrap();
            assert_eq!(found, Found::Earlier);
            match slate.read(0) {
                Some(words) => {
                    whole += 1;
                    assert!(!odd && (words == A || words == B));
                }
                None => assert!(odd || (bytes != before && bytes != after)),
            }
            assert!(slate.write(0, A));
            assert_eq!(slate.read(0), Some(A));
        }
    }
    assert_eq!(whole, 2, "one whole old cell, one whole new");
}

#[test]
fn a_reader_beside_a_writer_sees_only_whole_cells() {
    let place = Place::new("beside");
    let (mut slate, _) = place.open(1, 10, 1).unwrap();
    assert!(slate.write(0, [0; WORDS]));
    // A second mapping, as another process would have it.
    let reader = Slate::map(place.file(), 128, 1).unwrap();
    std::thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let mut last = 0;
            while last < 20_000 {
                if let Some(words) = reader.read(0) {
                    assert!(words.iter().all(|word| *word == words[0]), "{words:?}");
                    assert!(words[0] >= last, "never back");
                    last = words[0];
                }
            }
            last
        });
        let mut n = 0;
        while !seen.is_finished() {
            n += 1;
            slate.write(0, [n; WORDS]);
        }
        assert!(seen.join().unwrap() >= 20_000);
    });
}

#[test]
fn this_boot_has_one_number() {
    assert_eq!(boot_id().unwrap(), boot_id().unwrap());
    assert_ne!(boot_id().unwrap(), 0);
}
