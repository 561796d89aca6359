//! trunnion-core at work in a program without an allocator.
//!
//! The linker is the proof: the archive has no `__rust_alloc`, so the moment
//! core or what it depends on mentions `alloc`, this no longer builds. Each
//! function uses one room as its owner would, so that its code is really there;
//! the program runs them all and exits with the number of the first that gave
//! the wrong answer. `cargo xtask test --only no-alloc` builds, links, looks at
//! the symbols and runs it, and then shows with the feature `prove-negative`
//! that the proof can fail.
#![no_std]

use core::hint::black_box;
use core::net::{IpAddr, Ipv4Addr};
use core::slice::from_mut;
use trunnion_core::bytes::Reader;
use trunnion_core::check::{Change as Turn, Health, Limits, Verdict};
use trunnion_core::director::ha::{
    AddressSlot, Entry, GroupSlot, Ha, HaStorage, InstanceSlot, Interface, Prepared, TrackSlot,
    TrackState, Whom,
};
use trunnion_core::director::lb::{Lb, LbStorage, Link, MemberState, ServiceState};
use trunnion_core::director::plan::{HaPlan, LbPlan, SyncPlan, SyncRoles};
use trunnion_core::model::{
    BLANK_DESTINATION, Destination, DestinationKey, Forward, Protocol, SchedulerName, Service,
    ServiceKey, ServiceRow, SyncDaemon, SyncState, Table, TableBuf,
};
use trunnion_core::netlink::Batch;
use trunnion_core::netlink::genl::FamilyId;
use trunnion_core::reconcile::{Cursor, Ownership};
use trunnion_core::record::{Frame, Level, Ring, records};
use trunnion_core::time::{Duration, Instant, Slot, Wheel};
use trunnion_core::vrrp::Role;
use trunnion_core::{check, ipvs, route, vrrp, wire};

#[cfg(feature = "prove-negative")]
extern crate alloc;

/// A room at work; whether it answered rightly.
type Room = fn() -> bool;

const ROOMS: [Room; 8] = [bytes, timers, log, health, reconciliation, laws, ha, lb];

/// The program: 0, or the number of the first room that failed, from 1.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> core::ffi::c_int {
    for (number, room) in (1..).zip(ROOMS) {
        if !black_box(room)() {
            return number;
        }
    }
    memory()
}

#[cfg(not(feature = "prove-negative"))]
fn memory() -> core::ffi::c_int {
    0
}

/// What the proof must catch.
#[cfg(feature = "prove-negative")]
fn memory() -> core::ffi::c_int {
    *black_box(alloc::boxed::Box::new(0))
}

fn timers() -> bool {
    let mut slots = [Slot::EMPTY; 64];
    let mut wheel = Wheel::new(black_box(&mut slots), 1_000_000);
    for n in 0..64_u32 {
        let at = Instant::from_nanos(u64::from(n * 7919 % 64) * 10_000_000);
        if wheel.insert(at, n).is_err() {
            return false;
        }
    }
    let mut fired = 0;
    while let Some(due) = wheel.poll_timeout() {
        while wheel.expire(due).is_some() {
            fired += 1;
        }
    }
    fired == 64
}

records! {
    /// A record of this program's own.
    0x7f01 Info Proved { room: u8, of: IpAddr } "room {room} of {of}";
}

fn log() -> bool {
    use core::fmt::Write as _;
    let mut frames = [Frame::EMPTY; 4];
    let mut ring = Ring::new(black_box(&mut frames));
    let of = IpAddr::V4(Ipv4Addr::LOCALHOST);
    ring.log(Instant::ZERO, Proved { room: 3, of });
    let mut words = Words {
        bytes: [0; 64],
        len: 0,
    };
    ring.pop()
        .is_some_and(|frame| write!(words, "{}", frame.text(&[RECORDS])).is_ok())
        && words.bytes.starts_with(b"room 3 of 127.0.0.1\0")
        && Level::Info > Level::Error
}

/// An empty kernel and a service of two destinations, to requests and back.
fn reconciliation() -> bool {
    let key = ServiceKey::Address {
        protocol: Protocol::TCP,
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        port: 80,
    };
    let mut services = [ServiceRow::blank(), ServiceRow::blank()];
    let mut destinations = [BLANK_DESTINATION; 4];
    let mut desired = TableBuf::new(&mut services, black_box(&mut destinations));
    let Ok(scheduler) = SchedulerName::try_from("wrr") else {
        return false;
    };
    if desired.push_service(&Service::new(key, scheduler)).is_err() {
        return false;
    }
    desired.begin_destinations(0);
    for last in [2, 1] {
        let address = IpAddr::V4(Ipv4Addr::new(198, 51, 100, last));
        let at = DestinationKey { address, port: 80 };
        let destination = Destination::new(at, Forward::ROUTE, u32::from(last));
        if desired.push_destination(0, &destination).is_err() {
            return false;
        }
    }
    desired.sort_services();
    desired.sort_destinations(0);
    let actual = Table::EMPTY;
    let mut buffer = [0; 2048];
    let mut batch = Batch::new(black_box(&mut buffer), 1);
    let mut cursor = Cursor::new(Ownership::All);
    let mut requests = 0;
    while let Some(change) = cursor.next(desired.table(), actual) {
        if ipvs::request::change(&mut batch, FamilyId(0x1e), &change).is_err() {
            return false;
        }
        requests += 1;
    }
    let found = ipvs::laws::decode_any(batch.finish());
    requests == 3 && found.messages == 3
}

/// Bytes of no meaning, the same every time.
fn noise() -> [u8; 512] {
    let mut noise = [0; 512];
    let mut state = 1_u32;
    for byte in &mut noise {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    noise
}

/// Every decoder, the router's machine, the engine of the checks and the probes,
/// each through its laws, which panic when they are broken.
fn laws() -> bool {
    let noise = noise();
    for len in 0..noise.len() {
        let bytes = black_box(&noise[..len]);
        ipvs::laws::decode_any(bytes);
        route::laws::decode_any(bytes);
        wire::laws::decode_any(bytes);
        vrrp::laws::decode(bytes);
        vrrp::laws::machine(bytes);
        check::engine::laws::any_life(bytes);
        check::probe::laws::expect(bytes);
        check::probe::laws::http(bytes);
        check::probe::laws::dns(bytes);
        check::probe::laws::agent(bytes);
        check::probe::laws::radius(bytes);
        check::probe::laws::grpc(bytes);
        check::probe::laws::regex(bytes);
    }
    true
}

/// The half that holds addresses: without a plan it asks for nothing, and
/// whatever it hears does it no harm.
fn ha() -> bool {
    let blank = InstanceSlot::blank;
    let (mut instances, mut addresses) = ([blank(), blank()], [AddressSlot::BLANK; 2]);
    let (mut interfaces, mut records) = ([Interface::blank()], [Frame::EMPTY; 4]);
    let [a, b] = &mut instances;
    let [c, d] = &mut addresses;
    let (mut entries, mut timers) = ([Entry::EMPTY; 2], [Slot::EMPTY; 2]);
    let (mut adverts, mut index) = ([Prepared::EMPTY; 2], [0; 2]);
    let (mut tracks, mut cells) = ([TrackSlot::BLANK], [TrackState::Unknown]);
    let mut groups = [GroupSlot::BLANK];
    let mut half = Ha::new(HaStorage {
        instances: [from_mut(a), from_mut(b)],
        addresses: [from_mut(c), from_mut(d)],
        address_index: &mut index,
        agenda: (&mut entries, &mut timers),
        adverts: &mut adverts,
        interfaces: &mut interfaces,
        tracks: &mut tracks,
        cells: &mut cells,
        groups: &mut groups,
        records: &mut records,
    });
    let plan = HaPlan::default();
    let planned = half.handle_plan(Instant::ZERO, &plan, black_box(&[]));
    let mut buffer = [0; 2048];
    while half.poll_route(Instant::ZERO, &mut buffer).is_some() {
        half.handle_route(Instant::ZERO, &noise());
    }
    half.handle_track(Instant::ZERO, black_box(0), TrackState::Down);
    let _ = half.handle_failover(Instant::ZERO, &Whom::All, Instant::ZERO);
    while half.poll_notice().is_some() {}
    half.handle_timeout(Instant::ZERO);
    half.handle_shutdown(Instant::ZERO);
    planned.is_ok()
        && half.poll_advert(Instant::ZERO).is_none()
        && half.poll_announcement(Instant::ZERO, &mut buffer).is_none()
        && half.is_finished(Instant::ZERO)
}

/// The half that balances: it begins by asking for the IPVS family.
fn lb() -> bool {
    let mut rows = [(); 3].map(|()| ServiceRow::blank());
    let mut cells = [BLANK_DESTINATION; 3];
    let ([a, b, c], [x, y, z]) = (&mut rows, &mut cells);
    let [mut first, mut spare] = [ServiceState::default(); 2];
    let [mut member, mut spare_member] = [MemberState::NONE; 2];
    let storage = LbStorage {
        desired: TableBuf::new(from_mut(a), from_mut(x)),
        target: TableBuf::new(from_mut(b), from_mut(y)),
        actual: TableBuf::new(from_mut(c), from_mut(z)),
        services: [from_mut(&mut first), from_mut(&mut spare)],
        members: [from_mut(&mut member), from_mut(&mut spare_member)],
        timers: &mut [Slot::EMPTY],
        links: &mut [Link::NONE],
        checks: check::Storage {
            checks: &mut [check::Slot::EMPTY],
            asides: &mut [check::Aside::EMPTY],
            timers: &mut [Slot::EMPTY],
            manners: &mut [check::MannerSlot::EMPTY],
            sockets: &mut [check::Socket::EMPTY; 3],
            scripts: &mut [0; 128],
            request: &mut [0; 64],
            desks: &mut [check::Desk::EMPTY],
            paces: &mut [],
        },
        settings: check::Settings {
            tick_ns: 1_000_000,
            sockets_v4: 1,
            seats: 1,
            tls: 0,
            errands: 0,
            late_margin: Duration::from_millis(100),
            checks_per_second: 0,
            seed: 1,
            secret: [1, 2],
        },
        records: &mut [Frame::EMPTY; 4],
    };
    let mut half = Lb::new(storage);
    let plan = LbPlan {
        table: Table::EMPTY,
        policies: &[],
        links: &[],
        members: &[],
        checks: &[],
        scripts: check::probe::Scripts::EMPTY,
        backend_checks_per_second: 0,
        declared_only: true,
        audit: Duration::from_secs(60),
        sync: Some(&SyncPlan {
            daemon: SyncDaemon::new(SyncState::MASTER, "eth1".parse().unwrap_or_default(), 1),
            roles: SyncRoles::Follow,
        }),
    };
    let planned = half.handle_plan(Instant::ZERO, &plan);
    half.handle_role(Instant::ZERO, Role::Active);
    let mut buffer = [0; ipvs::BATCH_BYTES];
    let asked = half.poll_ipvs(Instant::ZERO, &mut buffer).is_some();
    half.handle_ipvs(Instant::ZERO, &noise());
    half.handle_timeout(Instant::ZERO);
    planned.is_ok() && asked && half.poll_probe(Instant::ZERO).is_none()
}

fn health() -> bool {
    let limits = Limits { rise: 2, fall: 3 };
    let (health, first) = Health::Unknown.on(black_box(Verdict::Success), limits);
    health == Health::Up && first == Some(Turn::WentUp)
}

fn bytes() -> bool {
    let mut reader = Reader::new(black_box(&[1, 2, 3]));
    reader.u8("one") == Ok(1) && reader.take::<3>("three").is_err()
}

/// Room for a few words.
struct Words {
    bytes: [u8; 64],
    len: usize,
}

impl core::fmt::Write for Words {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(core::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        // SAFETY: abort(3) takes nothing and does not return.
        safe fn abort() -> !;
    }
    abort()
}
