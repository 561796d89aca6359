//! Reads a capture of an `nlmon` device: pcap-savefile(5), link type
//! `LINKTYPE_NETLINK`.

use crate::failure::{Failure, Result};
use std::fs;
use std::path::Path;

/// A netlink message with its header, as it was on the socket.
pub struct Message {
    pub kind: u16,
    pub flags: u16,
    /// All of it.
    pub bytes: Vec<u8>,
}

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// Of each record: packet type, ARP type, address, protocol (all big-endian).
const LINK_HEADER: usize = 16;
const LINKTYPE_NETLINK: u32 = 253;
const NETLINK_GENERIC: u8 = 16;
const MESSAGE_HEADER: usize = 16;

/// The generic netlink messages of a capture, in order.
pub fn read(path: &Path) -> Result<Vec<Message>> {
    let file = fs::read(path).map_err(Failure::io("read", path))?;
    messages(&file).ok_or_else(|| {
        Failure::new(format!(
            "{}: not a whole capture of a netlink device",
            path.display()
        ))
    })
}

fn messages(file: &[u8]) -> Option<Vec<Message>> {
    let (header, mut rest) = file.split_at_checked(FILE_HEADER)?;
    // Written on this machine, so in its byte order.
    if u32_at(header, 0)? != 0xa1b2_c3d4 || u32_at(header, 20)? != LINKTYPE_NETLINK {
        return None;
    }
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (header, after) = rest.split_at_checked(RECORD_HEADER)?;
        let (kept, whole) = (u32_at(header, 8)?, u32_at(header, 12)?);
        if kept != whole {
            return None;
        }
        let (record, after) = after.split_at_checked(kept as usize)?;
        rest = after;
        let (link, mut datagram) = record.split_at_checked(LINK_HEADER)?;
        if link[14..] != [0, NETLINK_GENERIC] {
            continue;
        }
        while !datagram.is_empty() {
            let len = u32_at(datagram, 0)? as usize;
            let (bytes, _) = datagram.split_at_checked(len)?;
            bytes.get(..MESSAGE_HEADER)?;
            found.push(Message {
                kind: u16_at(bytes, 4)?,
                flags: u16_at(bytes, 6)?,
                bytes: bytes.to_vec(),
            });
            datagram = datagram.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        }
    }
    Some(found)
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let raw = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*raw))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let raw = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*raw))
}
