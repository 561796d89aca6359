//! What must hold for every input: called by fuzz targets in one line, and by
//! the tests of this room. They panic when a law is broken.

use super::{Encoder, REQUEST_BYTES_MAX, Refused, decode, request};
use crate::model::{Destination, Family, Service, ServiceKey, SyncDaemon};
use crate::netlink::genl::{self, FamilyId};
use crate::netlink::{Batch, HEADER_BYTES, Malformed, Messages, Reply};
use crate::reconcile::Change;

const FAMILY: FamilyId = FamilyId(0x1e);

/// What was found in a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Messages that netlink could frame.
    pub messages: usize,
    /// Rows that one of the decoders accepted.
    pub rows: usize,
}

/// Decodes any bytes by every decoder, as if they had been received. Nothing
/// panics, and every row that is accepted and may be requested survives being
/// requested.
pub fn decode_any(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    for message in Messages::new(bytes) {
        let Ok(message) = message else { break };
        found.messages = found.messages.saturating_add(1);
        let Ok(Reply::Data { body, offset, .. }) = Reply::parse(&message) else {
            continue;
        };
        if let Ok(entry) = decode::service(body, offset) {
            found.rows = found.rows.saturating_add(1);
            assert_eq!(
                entry.odd_mask.is_some(),
                entry.service.prefix == Service::NO_PREFIX
            );
            round_trip_service(&entry.service);
        }
        for family in [Family::V4, Family::V6] {
            if let Ok(entry) = decode::destination(body, offset, family) {
                found.rows = found.rows.saturating_add(1);
                let key = ServiceKey::Fwmark { mark: 1, family };
                round_trip_destination(&key, &entry.destination);
            }
        }
        if let Ok(daemon) = decode::daemon(body, offset) {
            found.rows = found.rows.saturating_add(1);
            round_trip_daemon(&daemon);
        }
        let others = [
            decode::info(body, offset).is_ok(),
            decode::timeouts(body, offset).is_ok(),
            genl::Family::parse(body, offset).is_ok(),
        ];
        found.rows = found
            .rows
            .saturating_add(others.iter().filter(|accepted| **accepted).count());
    }
    found
}

/// A service that may be requested is, when its request is read back, the same;
/// and its request is no longer than [`REQUEST_BYTES_MAX`]. A flag of the
/// kernel's own is not requested.
pub fn round_trip_service(service: &Service) {
    let mut buf = [0xa5; REQUEST_BYTES_MAX + HEADER_BYTES];
    let write = of(Change::AddService(service));
    if let Some((body, offset)) = written(&mut buf, write) {
        let back = decode::service(body, offset).map(|entry| entry.service);
        let mut expect = service.clone();
        expect.flags.remove(crate::model::ServiceFlags::HASHED);
        assert_eq!(back, Ok(expect));
    }
}

/// A destination that may be requested is, when its request is read back, the
/// same.
pub fn round_trip_destination(key: &ServiceKey, destination: &Destination) {
    let mut buf = [0xa5; REQUEST_BYTES_MAX + HEADER_BYTES];
    let change = Change::AddDestination(key, destination);
    copied(&change);
    if let Some((body, offset)) = written(&mut buf, of(change)) {
        let back = decode::destination(body, offset, key.family()).map(|entry| entry.destination);
        assert_eq!(back, Ok::<_, Malformed>(*destination));
    }
}

/// What an [`Encoder`] copies is what [`request::change`] writes.
fn copied(change: &Change<'_>) {
    let (mut one, mut many) = ([0xa5; 4 * REQUEST_BYTES_MAX], [0x5a; 4 * REQUEST_BYTES_MAX]);
    let mut each = Batch::new(&mut one, 7);
    let mut all = Batch::new(&mut many, 7);
    let mut encoder = Encoder::new(FAMILY);
    for _ in 0..2 {
        let expect = request::change(&mut each, FAMILY, change);
        assert_eq!(encoder.change(&mut all, change), expect);
    }
    assert_eq!(all.finish(), each.finish());
}

/// A daemon that may be requested is, when its request is read back, the same.
pub fn round_trip_daemon(daemon: &SyncDaemon) {
    let mut buf = [0xa5; REQUEST_BYTES_MAX + HEADER_BYTES];
    let write = |batch: &mut Batch<'_>| request::start_daemon(batch, FAMILY, daemon);
    if let Some((body, offset)) = written(&mut buf, write) {
        assert_eq!(decode::daemon(body, offset).as_ref(), Ok(daemon));
    }
}

fn of<'c>(change: Change<'c>) -> impl FnOnce(&mut Batch<'_>) -> Result<u32, Refused> + 'c {
    move |batch| request::change(batch, FAMILY, &change)
}

/// The body of the request, unless it is refused. A request has the numbers of
/// the reply that reports its object.
fn written(
    buf: &mut [u8],
    write: impl FnOnce(&mut Batch<'_>) -> Result<u32, Refused>,
) -> Option<(crate::bytes::Reader<'_>, usize)> {
    let mut batch = Batch::new(buf, 1);
    match write(&mut batch) {
        Ok(seq) => assert_eq!(seq, 1),
        Err(refused) => {
            assert_ne!(refused, Refused::Full, "longer than REQUEST_BYTES_MAX");
            assert!(batch.is_empty());
            return None;
        }
    }
    let mut messages = Messages::new(batch.finish());
    let only = messages.next();
    assert!(messages.next().is_none());
    match only.map(|message| message.map(|message| Reply::parse(&message))) {
        Some(Ok(Ok(Reply::Data { body, offset, .. }))) => Some((body, offset)),
        other => unreachable!("not a request: {other:?}"),
    }
}
