use super::*;

const SHAPE: Shape = Shape {
    wards: 3,
    ward_words: 4,
    addresses: 5,
    address_words: 2,
};

fn again(will: &Will) -> Will {
    Will::inherit(will.as_fd().try_clone_to_owned().unwrap(), 1).unwrap()
}

/// Wards with their pulses, and addresses.
type Contents = (Vec<([u64; 4], u64)>, Vec<[u64; 2]>);

/// All of the current will.
fn contents(will: &Will) -> Contents {
    let (wards, addresses) = will.counts();
    let ward = |at| {
        let mut words = [0; 4];
        let pulse = will.read_ward(at, &mut words).unwrap();
        (words, pulse)
    };
    let address = |at| {
        let mut words = [0; 2];
        assert!(will.read_address(at, &mut words));
        words
    };
    (
        (0..wards).map(ward).collect(),
        (0..addresses).map(address).collect(),
    )
}

#[test]
fn the_heir_reads_what_was_finished_and_nothing_else() {
    let mut will = Will::create(SHAPE, 1).unwrap();
    let heir = again(&will);
    assert_eq!(heir.shape(), SHAPE);
    assert_eq!(contents(&heir), (vec![], vec![]));
    let mut draft = will.draft();
    assert!(draft.ward(&[1, 2, 3, 4], 10) && draft.ward(&[5, 6, 7, 8], 11));
    assert!(draft.address(&[9, 9]));
    draft.finish();
    let first = (vec![([1, 2, 3, 4], 10), ([5, 6, 7, 8], 11)], vec![[9, 9]]);
    assert_eq!(contents(&heir), first);
    // One that its writer did not live to finish.
    let mut draft = will.draft();
    assert!(draft.ward(&[0xa5; 4], 0xa5) && draft.address(&[0xa5; 2]));
    assert_eq!(contents(&heir), first);
    will.set_pulse(1, 99);
    assert_eq!(contents(&heir).0[1].1, 99);
    let mut draft = will.draft();
    assert!(draft.ward(&[7], 7));
    draft.finish();
    assert_eq!(contents(&heir), (vec![([7, 0, 0, 0], 7)], vec![]));
    will.set_pulse(0, 8);
    assert_eq!(contents(&heir).0[0].1, 8);
}

#[test]
fn what_has_no_room_is_told() {
    let mut will = Will::create(SHAPE, 1).unwrap();
    let mut draft = will.draft();
    for n in 0..3 {
        assert!(draft.ward(&[n; 9], n));
    }
    for n in 0..5 {
        assert!(draft.address(&[n; 9]));
    }
    assert!(!draft.ward(&[1; 4], 1) && !draft.address(&[1; 2]));
    draft.finish();
    will.set_pulse(3, 0xbad);
    let (wards, addresses) = contents(&will);
    assert_eq!(wards[2], ([2; 4], 2));
    assert_eq!(addresses[4], [4; 2], "nobody wrote beyond its place");
    assert_eq!(will.read_ward(3, &mut [0; 4]), None);
    assert!(!will.read_address(5, &mut [0; 2]));
}

#[test]
fn what_is_no_will_of_this_layout_is_refused() {
    let will = Will::create(SHAPE, 1).unwrap();
    let fd = || will.as_fd().try_clone_to_owned().unwrap();
    assert!(Will::inherit(fd(), 2).is_err());
    will.set(header::SHAPE, 4);
    assert!(Will::inherit(fd(), 1).is_err(), "longer than its memory");
    will.set(header::SHAPE, u64::MAX);
    assert!(Will::inherit(fd(), 1).is_err());
    let empty = std::fs::File::open("/dev/null").unwrap();
    assert!(Will::inherit(empty.into(), 1).is_err());
    let huge = Shape {
        wards: usize::MAX,
        ..SHAPE
    };
    assert!(Will::create(huge, 1).is_err());
}

#[test]
fn notes_and_the_dismissal_are_seen() {
    let will = Will::create(SHAPE, 1).unwrap();
    let heir = again(&will);
    assert_eq!((heir.note(0), heir.is_dismissed()), (0, false));
    will.set_note(0, 7);
    will.set_note(NOTES, 8);
    will.dismiss();
    assert_eq!((heir.note(0), heir.note(NOTES)), (7, 0));
    assert!(heir.is_dismissed());
}

#[test]
fn the_end_of_the_thread_is_the_moment() {
    let mut will = Will::create(SHAPE, 1).unwrap();
    let heir = again(&will);
    let limit = Duration::from_millis(5);
    assert_eq!(heir.wait(limit).unwrap(), Waited::Alive, "nobody's yet");
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let (bound, is_bound) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        will.bind().unwrap();
        bound.send(()).unwrap();
        let _ = ended.recv();
    });
    is_bound.recv().unwrap();
    assert_eq!(heir.wait(limit).unwrap(), Waited::Alive);
    let waiter = std::thread::spawn(move || {
        while heir.wait(Duration::from_secs(1)).unwrap() == Waited::Alive {}
        heir
    });
    drop(end);
    thread.join().unwrap();
    let heir = waiter.join().unwrap();
    assert_eq!(heir.wait(limit).unwrap(), Waited::Died, "for ever");
}
