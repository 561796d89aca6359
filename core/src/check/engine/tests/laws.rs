//! What holds whatever happens.

use super::super::laws::{any_life, any_split};
use super::super::*;
use super::world::{Behaviour, UP, World, config, engine, ms, plan, target};
use crate::check::CheckConfig;
use crate::netlink::Errno;
use proptest::prelude::*;
use std::vec;

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        (0..400_u64).prop_map(|n| Behaviour::Answers(ms(n))),
        (0..250_u64).prop_map(|n| Behaviour::Answers(ms(n))),
        (0..400_u64).prop_map(|n| Behaviour::Refuses(ms(n))),
        Just(Behaviour::Silent),
        prop::sample::select(vec![24, 105, 99, 12, 1, 113, 101, 22, 200])
            .prop_map(Behaviour::Fails),
    ]
}

/// Whether the engine should find such a target up, if it can tell.
fn truth(behaviour: Behaviour) -> Option<HealthState> {
    match behaviour {
        Behaviour::Answers(after) if after < ms(300) => Some(HealthState::Up),
        // Both fall on the same instant.
        Behaviour::Answers(after) if after == ms(300) => None,
        Behaviour::Answers(_) | Behaviour::Refuses(_) | Behaviour::Silent => {
            Some(HealthState::Down)
        }
        Behaviour::Fails(errno) => match Verdict::of_connect(Errno(errno)) {
            Verdict::Failure(_) => Some(HealthState::Down),
            Verdict::Success | Verdict::Indeterminate(_) => None,
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With a socket for each check and a punctual owner, a change of a target
    /// is found within fall x interval + timeout, or rise x down_interval +
    /// timeout.
    #[test]
    fn changes_are_found_in_time(
        before in prop::collection::vec(behaviour(), 12),
        after in prop::collection::vec(behaviour(), 12),
        when in 3_000..6_000_u64,
    ) {
        let mut world = World::new(engine(12, 12, 12), before.clone());
        world.plan(&plan(12));
        world.run_for(ms(when));
        for (n, b) in (0..).zip(before) {
            if let Some(state) = truth(b) {
                prop_assert_eq!(world.health_of(n), state, "{} {:?}", n, b);
            }
        }
        world.targets.clone_from(&after);
        world.run_for(ms(3 * 1000 + 300));
        for (n, b) in (0..).zip(after) {
            if let Some(state) = truth(b) {
                prop_assert_eq!(world.health_of(n), state, "{} {:?}", n, b);
            }
        }
    }

    /// Whatever else happens here (stalls, a small pool, want of everything,
    /// reloads), a target that answers in time never goes down; and when the
    /// storm is over everything is as it should be.
    #[test]
    fn trouble_here_is_never_a_verdict(
        mut targets in prop::collection::vec(behaviour(), 16),
        sockets in 1..6_u32,
        script in prop::collection::vec((0..6_u8, 0..16_usize, any::<u64>()), 1..40),
    ) {
        targets[0] = UP;
        targets[3] = Behaviour::Answers(ms(150));
        let mut world = World::new(engine(20, sockets, sockets), targets);
        let mut current = plan(16);
        world.plan(&current);
        for (what, n, random) in script {
            match what {
                0 => world.run_for(ms(random % 5_000)),
                1 => {
                    // An owner that is always late, by up to half a second.
                    let mut state = random | 1;
                    let end = world.now + ms(3_000);
                    world.run(end, || {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        Duration::from_micros(state % 500_000)
                    });
                }
                2 => world.now += ms(random % 20_000),
                3 => {
                    // This node is out of something for a while.
                    let all = world.targets.clone();
                    world.targets.fill(Behaviour::Fails([24, 99, 105][n % 3]));
                    world.run_for(ms(random % 4_000));
                    world.targets = all;
                }
                4 if n != 0 && n != 3 => {
                    // A reload: gone, back, or with another fall.
                    let c = config(u16::try_from(n).unwrap());
                    let other = CheckConfig { fall: 1, ..c };
                    let had = current.iter().position(|o| o.target == c.target);
                    if let Some(at) = had {
                        current.remove(at);
                    }
                    match random % 3 {
                        0 => current.push(c),
                        1 => current.push(other),
                        _ => {}
                    }
                    current.sort_unstable();
                    world.plan(&current);
                }
                _ => {
                    // A stray edge. Not of a socket in use: that the owner tells
                    // apart (sys::tcp).
                    if world.sockets.get(n).is_some_and(Option::is_none) {
                        let id = SocketId(u32::try_from(n).unwrap());
                        world.engine.handle_failed(world.now, id, Errno(111));
                    }
                }
            }
            for report in &world.told {
                let up = report.target == target(0) || report.target == target(3);
                prop_assert!(!up || report.state == HealthState::Up, "{report:?}");
            }
        }
        // Liveness: 16 checks of at most 300 ms on one socket take 4.8 s a round.
        world.run_for(ms(30_000));
        for c in &current {
            let n = c.target.port() - 1000;
            if let Some(state) = truth(world.targets[usize::from(n)]) {
                prop_assert_eq!(world.health_of(n), state);
            }
        }
    }

    #[test]
    fn any_life_keeps_the_laws(data in prop::collection::vec(any::<u8>(), 0..2_000)) {
        any_life(&data);
    }
    #[test]
    fn answers_mean_the_same_whichever_way_they_are_cut(
        head in prop::collection::vec(any::<u8>(), 8),
        answer in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..100),
            prop::sample::select(ANSWERS.to_vec()).prop_map(<[u8]>::to_vec),
            (prop::sample::select(ANSWERS.to_vec()), any::<prop::sample::Index>(), any::<u8>())
                .prop_map(|(answer, at, byte)| {
                    let mut answer = answer.to_vec();
                    let at = at.index(answer.len());
                    answer[at] = byte;
                    answer
                }),
        ],
    ) {
        any_split(&[head, answer].concat());
    }
}

/// Answers that some check expects.
const ANSWERS: [&[u8]; 7] = [
    b"+OK and more",
    b"up 75% # well\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall ready",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nall \r\n5\r\nready\r\n0\r\n\r\n",
    b"HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n",
    // Settings, their acknowledgement, and a ping of HTTP/2.
    b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0\0\0\x08\x06\0\0\0\0\0pingpong",
    // A DNS answer of one address, for a.example.
    b"\0\x2b\0\0\x81\x80\0\x01\0\x01\0\0\0\0\x01a\x07example\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01",
];
