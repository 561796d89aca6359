//! What a raw socket for echo requests hears: the kernel passes on replies with
//! our identifier, and errors that quote a request with it, and nothing else,
//! however much ICMP the host gets.

use super::bpf::*;
use super::set;
use std::io;
use std::os::fd::OwnedFd;
use trunnion_core::model::Family;

/// `SOL_RAW` and `ICMP_FILTER` (linux/icmp.h): a bit for each type that is not
/// passed on.
const SOL_RAW: libc::c_int = 255;
const ICMP_FILTER: libc::c_int = 1;
/// `ICMPV6_FILTER` (linux/icmpv6.h), RFC 3542 3.2: the same.
const ICMPV6_FILTER: libc::c_int = 1;

// Types as core reads them: echo reply, unreachable, time exceeded, parameter
// problem; in IPv6 "too big" as well.
const REPLY_V4: u8 = 0;
const REQUEST_V4: u8 = 8;
const HEARD_V4: [u8; 4] = [REPLY_V4, 3, 11, 12];
const REPLY_V6: u8 = 129;
const REQUEST_V6: u8 = 128;
const HEARD_V6: [u8; 5] = [REPLY_V6, 1, 2, 3, 4];

pub(super) fn filter(fd: &OwnedFd, family: Family, identifier: u16) -> io::Result<()> {
    match family {
        Family::V4 => {
            let heard = HEARD_V4.iter().fold(0, |bits, kind| bits | 1_u32 << kind);
            set(fd, SOL_RAW, ICMP_FILTER, &!heard)?;
            attach(fd, &mut program_v4(identifier))
        }
        Family::V6 => {
            let mut blocked = [u32::MAX; 8];
            for kind in HEARD_V6 {
                blocked[usize::from(kind / 32)] &= !(1 << (kind % 32));
            }
            set(fd, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &blocked)?;
            attach(fd, &mut program_v6(identifier))
        }
    }
}

const ICMP: u32 = 1;
const ICMPV6: u32 = 58;

/// An IPv4 packet, with its header.
fn program_v4(identifier: u16) -> [libc::sock_filter; 20] {
    let identifier = identifier.into();
    [
        op(X_IS_HEADER, 0),
        op(A_IS_BYTE_AT_X, 0),
        unless(REPLY_V4.into(), 4),
        op(A_IS_HALF_AT_X, 4),
        unless(identifier, 1),
        op(RETURN, ALL),
        op(RETURN, NOTHING),
        // An error: behind its 8 bytes the header of the packet it quotes.
        op(A_IS_BYTE_AT_X, 8 + 9),
        unless(ICMP, 10),
        op(A_IS_BYTE_AT_X, 8),
        op(A_AND, 0xf),
        op(A_LEFT, 2),
        op(A_ADD_X, 0),
        op(X_IS_A, 0),
        op(A_IS_BYTE_AT_X, 8),
        unless(REQUEST_V4.into(), 3),
        op(A_IS_HALF_AT_X, 8 + 4),
        unless(identifier, 1),
        op(RETURN, ALL),
        op(RETURN, NOTHING),
    ]
}

/// An ICMPv6 message. One that is quoted behind extension headers, which we do
/// not send, is none of ours.
fn program_v6(identifier: u16) -> [libc::sock_filter; 14] {
    let identifier = identifier.into();
    const QUOTED: u32 = 8 + 40;
    [
        op(A_IS_BYTE, 0),
        unless(REPLY_V6.into(), 4),
        op(A_IS_HALF, 4),
        unless(identifier, 1),
        op(RETURN, ALL),
        op(RETURN, NOTHING),
        op(A_IS_BYTE, 8 + 6),
        unless(ICMPV6, 5),
        op(A_IS_BYTE, QUOTED),
        unless(REQUEST_V6.into(), 3),
        op(A_IS_HALF, QUOTED + 4),
        unless(identifier, 1),
        op(RETURN, ALL),
        op(RETURN, NOTHING),
    ]
}
