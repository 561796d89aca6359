//! What must hold for every input: called by fuzz targets in one line, and by
//! the tests of this room. They panic when a law is broken.

use super::{Event, REQUEST_BYTES_MAX, Refused, decode, request};
use crate::netlink::{Batch, HEADER_BYTES, Messages, Reply};
use crate::route::InterfaceAddress;

/// Decodes any bytes as if they had been received, and returns how many events
/// there were in them. Nothing panics, and an address that may be added
/// survives being added.
pub fn decode_any(datagram: &[u8]) -> usize {
    let mut events: usize = 0;
    for message in Messages::new(datagram) {
        let Ok(message) = message else { break };
        let Ok(Reply::Data {
            kind, body, offset, ..
        }) = Reply::parse(&message)
        else {
            continue;
        };
        match decode(kind, body, offset) {
            Ok(Some(event)) => {
                events = events.saturating_add(1);
                if let Event::Address(address) | Event::AddressGone(address) = event {
                    round_trip(&address);
                }
            }
            Ok(None) => {}
            Err(malformed) => assert!(
                malformed.offset <= datagram.len(),
                "what is malformed is in the datagram"
            ),
        }
    }
    events
}

/// An address that may be added is, when its request is read back, the same,
/// and its request is no longer than [`REQUEST_BYTES_MAX`].
pub fn round_trip(address: &InterfaceAddress) {
    let mut buf = [0xa5; REQUEST_BYTES_MAX + HEADER_BYTES];
    let mut batch = Batch::new(&mut buf, 1);
    match request::add_address(&mut batch, address, "eth0:fifteen-by") {
        Ok(_) => {}
        Err(Refused::Full) => panic("a request fits the bytes it may have"),
        Err(Refused::Prefix { .. }) => panic("no such prefix is decoded"),
        Err(Refused::Address) => {
            assert!(address.address.is_unspecified() || address.address.is_multicast());
            return;
        }
    }
    let bytes = batch.finish();
    let again = Messages::new(bytes).next().and_then(|message| {
        let message = message.ok()?;
        decode(message.header.kind, message.body, message.offset).ok()?
    });
    assert_eq!(again, Some(Event::Address(*address)));
}

#[allow(clippy::panic, reason = "a law is broken: for tests and fuzz targets")]
fn panic(law: &str) {
    panic!("{law}");
}
