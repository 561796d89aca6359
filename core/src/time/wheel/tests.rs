use super::*;
use proptest::prelude::*;
use std::vec::Vec;
use std::{format, vec};

const MS: u64 = 1_000_000;
const HOUR: u64 = 3_600_000 * MS;

fn at(ns: u64) -> Instant {
    Instant::from_nanos(ns)
}

/// Everything due at `now`, in the order it came.
fn drain(wheel: &mut Wheel<'_>, now: Instant) -> Vec<u32> {
    let mut out = Vec::new();
    loop {
        while let Some((_, payload)) = wheel.expire(now) {
            out.push(payload);
        }
        if wheel.poll_timeout().is_none_or(|t| t > now) {
            return out;
        }
    }
}

#[test]
fn nothing_fires_a_nanosecond_early() {
    for tick_ns in [1, 1 << 10, 1 << 20, 1 << 40] {
        for deadline in [1, 999, MS, 7 * MS + 3, HOUR, u64::MAX - 1] {
            let mut slots = [Slot::EMPTY; 1];
            let mut wheel = Wheel::new(&mut slots, tick_ns);
            let timer = wheel.insert(at(deadline), 7).unwrap();
            assert_eq!(wheel.poll_timeout(), Some(at(deadline)), "tick {tick_ns}");
            assert_eq!(wheel.deadline(timer), Some(at(deadline)));
            assert_eq!(wheel.expire(at(deadline - 1)), None);
            assert_eq!(wheel.poll_timeout(), Some(at(deadline)));
            assert_eq!(wheel.expire(at(deadline)), Some((timer, 7)));
            assert_eq!(wheel.poll_timeout(), None);
            assert_eq!(wheel.expire(at(deadline)), None);
        }
    }
}

#[test]
fn the_past_is_due_at_once_and_first() {
    let mut slots = [Slot::EMPTY; 4];
    let mut wheel = Wheel::new(&mut slots, MS);
    assert_eq!(wheel.expire(at(HOUR)), None);
    wheel.insert(at(HOUR), 3).unwrap();
    wheel.insert(at(5), 2).unwrap();
    wheel.insert(at(0), 1).unwrap();
    wheel.insert(at(HOUR + 1), 4).unwrap();
    assert_eq!(wheel.poll_timeout(), Some(at(0)));
    assert_eq!(drain(&mut wheel, at(HOUR)), [1, 2, 3]);
    assert_eq!(drain(&mut wheel, at(HOUR + 1)), [4]);
}

#[test]
fn a_stale_handle_names_nothing() {
    let mut slots = [Slot::EMPTY; 1];
    let mut wheel = Wheel::new(&mut slots, MS);
    let first = wheel.insert(at(1), 1).unwrap();
    assert_eq!(wheel.insert(at(1), 2), Err(Full));
    assert_eq!(wheel.cancel(first), Some(1));
    assert_eq!(wheel.cancel(first), None);
    let second = wheel.insert(at(2), 2).unwrap();
    assert_eq!(second.index, first.index);
    assert_eq!(wheel.cancel(first), None);
    assert!(!wheel.postpone(first, at(9)));
    assert_eq!(wheel.deadline(first), None);
    assert_eq!(wheel.expire(at(2)), Some((second, 2)));
    assert_eq!(wheel.cancel(second), None);
    let beyond = Timer {
        index: 99,
        generation: 0,
    };
    assert_eq!(wheel.cancel(beyond), None);
    assert_eq!((wheel.len(), wheel.is_empty()), (0, true));
}

/// The heap's last entry takes the place of a cancelled one in another branch,
/// where it may have to rise or to sink.
#[test]
fn a_cancel_within_the_tick_keeps_the_order() {
    let mut random = 1_u64;
    for _ in 0..200 {
        let mut slots = [Slot::EMPTY; 64];
        let mut wheel = Wheel::new(&mut slots, 1 << 40);
        let mut set = Vec::new();
        for _ in 0..64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let n = u32::try_from(random % 1000).unwrap();
            set.push((n, wheel.insert(at(n.into()), n).unwrap()));
        }
        for (n, timer) in set.split_off(20) {
            assert_eq!(wheel.cancel(timer), Some(n));
        }
        let mut left: Vec<_> = set.iter().map(|t| t.0).collect();
        left.sort_unstable();
        assert_eq!(drain(&mut wheel, at(1000)), left);
    }
}

#[test]
fn time_that_goes_back_is_harmless() {
    let mut slots = [Slot::EMPTY; 2];
    let mut wheel = Wheel::new(&mut slots, MS);
    assert_eq!(wheel.expire(at(HOUR)), None);
    wheel.insert(at(MS), 1).unwrap();
    assert_eq!(wheel.expire(at(0)), None);
    assert_eq!(wheel.poll_timeout(), Some(at(MS)));
    assert_eq!(drain(&mut wheel, at(MS)), [1]);
}

/// A jump of a day over 10,000 timers: the calls that return nothing are those
/// that the move budget explains, not one for each tick.
#[test]
fn a_jump_does_not_walk_ticks() {
    const N: u32 = 10_000;
    let mut slots = vec![Slot::EMPTY; N as usize];
    let mut wheel = Wheel::new(&mut slots, 1 << 10);
    for n in 0..N {
        let deadline = u64::from(n.wrapping_mul(2_654_435_761)) * 3_000;
        wheel.insert(at(deadline), n).unwrap();
    }
    let now = at(24 * HOUR);
    let (mut fired, mut calls) = (0, 0);
    while wheel.poll_timeout().is_some_and(|t| t <= now) {
        calls += 1;
        fired += u32::from(wheel.expire(now).is_some());
    }
    assert_eq!(fired, N);
    let empty = calls - fired;
    let moves = N * u32::try_from(LEVELS).unwrap();
    assert!(empty <= moves / MOVES_MAX + 1, "{empty} empty calls");
}

/// What a cancelled minimum costs: a bounded number of wake-ups.
#[test]
fn a_cancelled_minimum_does_not_spin() {
    let mut slots = [Slot::EMPTY; 2];
    let mut wheel = Wheel::new(&mut slots, 1);
    let far = HOUR - 1;
    let first = wheel.insert(at(far - 999), 1).unwrap();
    wheel.insert(at(far), 2).unwrap();
    wheel.cancel(first).unwrap();
    let mut wakeups = 0;
    loop {
        let now = wheel.poll_timeout().unwrap();
        assert!(now <= at(far));
        wakeups += 1;
        assert!(wakeups <= 11);
        if wheel.expire(now).is_some() {
            assert_eq!(now, at(far));
            break;
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Cancel(usize),
    Postpone(usize, u64),
    Advance(u64),
    /// To the next deadline, and one nanosecond before it.
    Follow,
}

/// Distances that meet every level, the same tick, and the past.
fn distance() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4_u64,
        0..5_000_u64,
        0..10 * MS,
        0..10 * HOUR,
        any::<u64>(),
        Just(u64::MAX),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => distance().prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Cancel),
        1 => (any::<usize>(), distance()).prop_map(|(n, d)| Step::Postpone(n, d)),
        1 => distance().prop_map(Step::Advance),
        3 => Just(Step::Follow),
    ]
}

/// The naive model: a list of what is set.
#[derive(Default)]
struct Model {
    set: Vec<(Timer, Instant, u32)>,
    stale: Vec<Timer>,
}

impl Model {
    fn earliest(&self) -> Option<Instant> {
        self.set.iter().map(|t| t.1).min()
    }

    fn expire(&mut self, wheel: &mut Wheel<'_>, now: Instant) {
        loop {
            while let Some((timer, payload)) = wheel.expire(now) {
                let place = self.set.iter().position(|t| t.0 == timer);
                let (_, deadline, expected) = self.set.swap_remove(place.expect("was set"));
                assert_eq!(payload, expected);
                assert!(deadline <= now, "fired early");
                assert!(
                    self.earliest().is_none_or(|e| deadline <= e),
                    "out of order"
                );
                self.stale.push(timer);
            }
            if wheel.poll_timeout().is_none_or(|t| t > now) {
                break;
            }
        }
        assert!(
            self.earliest().is_none_or(|e| e > now),
            "a due timer stayed"
        );
    }
}

fn run(steps: &[Step], tick_ns: u64, start: u64, slots: usize) {
    let mut slots = vec![Slot::EMPTY; slots];
    let mut wheel = Wheel::new(&mut slots, tick_ns);
    let mut model = Model::default();
    let mut now = at(start);
    model.expire(&mut wheel, now);
    for (n, step) in steps.iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        match *step {
            Step::Insert(d) => {
                // Half of them from an hour ago, so that the past is met.
                let base = if d % 2 == 0 { start } else { now.as_nanos() };
                let deadline = at(base.saturating_add(d));
                match wheel.insert(deadline, n) {
                    Ok(timer) => model.set.push((timer, deadline, n)),
                    Err(Full) => assert_eq!(model.set.len(), wheel.capacity() as usize),
                }
            }
            Step::Cancel(k) if !model.set.is_empty() => {
                let (timer, _, payload) = model.set.swap_remove(k % model.set.len());
                assert_eq!(wheel.cancel(timer), Some(payload));
                model.stale.push(timer);
            }
            Step::Postpone(k, d) if !model.set.is_empty() => {
                let k = k % model.set.len();
                let deadline = at(now.as_nanos().saturating_add(d));
                assert!(wheel.postpone(model.set[k].0, deadline));
                model.set[k].1 = deadline;
            }
            Step::Cancel(_) | Step::Postpone(..) => {}
            Step::Advance(d) => {
                now = at(now.as_nanos().saturating_add(d));
                model.expire(&mut wheel, now);
            }
            Step::Follow => {
                if let Some(next) = model.earliest() {
                    let before = at(next.as_nanos().saturating_sub(1));
                    now = now.max(before);
                    model.expire(&mut wheel, now);
                    now = now.max(next);
                    model.expire(&mut wheel, now);
                }
            }
        }
        for &timer in &model.stale {
            assert_eq!(wheel.deadline(timer), None);
        }
        for &(timer, deadline, _) in &model.set {
            assert_eq!(wheel.deadline(timer), Some(deadline));
        }
        assert_eq!(wheel.len() as usize, model.set.len());
        match (wheel.poll_timeout(), model.earliest()) {
            (Some(polled), Some(exact)) => assert!(polled <= exact),
            (polled, exact) => assert_eq!(polled, exact),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn does_what_a_list_does(
        steps in prop::collection::vec(step(), 1..120),
        tick in 0..64_u32,
        start in prop_oneof![Just(0), 0..10 * HOUR, any::<u64>()],
        slots in 1..40_usize,
    ) {
        run(&steps, 1 << tick, start, slots);
    }

    /// Without a cancel the timeout is exact.
    #[test]
    fn the_timeout_is_exact(
        distances in prop::collection::vec(distance(), 1..40),
        tick in 0..63_u32,
    ) {
        let mut slots = [Slot::EMPTY; 40];
        let mut wheel = Wheel::new(&mut slots, 1 << tick);
        for (n, &d) in distances.iter().enumerate() {
            wheel.insert(at(d), u32::try_from(n).unwrap()).unwrap();
        }
        let mut sorted = distances;
        sorted.sort_unstable();
        for d in sorted {
            prop_assert_eq!(wheel.poll_timeout(), Some(at(d)));
            let (_, payload) = wheel.expire(at(d)).expect("due");
            prop_assert!(payload < 40);
        }
        prop_assert!(wheel.is_empty());
    }
}

#[test]
fn debug_says_when_it_wants_to_be_called() {
    let mut slots = [Slot::EMPTY; 2];
    let mut wheel = Wheel::new(&mut slots, 1_000_000);
    wheel.insert(at(5), 0).unwrap();
    assert_eq!(
        format!("{wheel:?}"),
        "Wheel { len: 1, capacity: 2, tick_ns: 1048576, next: Some(Instant(5)), .. }"
    );
}
