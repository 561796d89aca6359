//! An LB half by itself, with the memory that the daemon takes.

use trunnion_core::check::{self, Settings};
use trunnion_core::director::lb::{Lb, LbStorage, Link, MemberState, ServiceState};
use trunnion_core::model::{BLANK_DESTINATION, ServiceRow, TableBuf};
use trunnion_core::record::Frame;
use trunnion_core::time::{self, Duration};

/// What `[limits]` say.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub services: usize,
    pub backends: usize,
    /// TCP sockets of each family.
    pub sockets: u32,
    /// Commands and files at once.
    pub errands: u32,
}

/// A half that has no plan yet.
pub fn half(limits: Limits) -> Lb<'static> {
    let Limits {
        services,
        backends,
        sockets,
        errands,
    } = limits;
    // Both sides may be read anew while they are known; see the daemon's plan.
    let table = |times: usize| {
        TableBuf::new(
            room(&ServiceRow::blank(), times * services),
            room(&BLANK_DESTINATION, times * backends),
        )
    };
    let members = || room(&MemberState::NONE, backends);
    let states = || room(&ServiceState::default(), services);
    Lb::new(LbStorage {
        desired: table(1),
        target: table(2),
        actual: table(2),
        services: [states(), states()],
        members: [members(), members()],
        timers: room(&time::Slot::EMPTY, services),
        links: room(&Link::NONE, backends),
        checks: check::Storage {
            checks: room(&check::Slot::EMPTY, backends),
            asides: room(&check::Aside::EMPTY, backends),
            timers: room(&time::Slot::EMPTY, backends),
            manners: room(&check::MannerSlot::EMPTY, backends),
            sockets: room(
                &check::Socket::EMPTY,
                2 * sockets as usize + errands as usize,
            ),
            scripts: room(&0, 256),
            request: &mut [],
            desks: &mut [],
            paces: room(&check::Pace::FREE, services + backends),
        },
        settings: Settings {
            tick_ns: 1 << 20,
            sockets_v4: sockets,
            seats: 0,
            tls: 0,
            errands,
            late_margin: Duration::from_millis(100),
            checks_per_second: 0,
            seed: 1,
            secret: [1, 2],
        },
        records: room(&Frame::EMPTY, 256),
    })
}

fn room<T: Clone>(value: &T, len: usize) -> &'static mut [T] {
    vec![value.clone(); len].leak()
}
