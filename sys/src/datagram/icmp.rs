//! What a raw socket for echo requests hears: the kernel passes on replies with
//! our identifier, and errors that quote a request with it, and nothing else,
//! however much ICMP the host gets.

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

fn attach(fd: &OwnedFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or(0),
        filter: program.as_mut_ptr(),
    };
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

// Classic BPF (linux/filter.h): `A` and `X` are registers, `P` is the packet.
const A_IS_BYTE: u16 = 0x30; // A = P[k]
const A_IS_BYTE_AT_X: u16 = 0x50; // A = P[X + k]
const A_IS_HALF: u16 = 0x28; // A = P[k..k + 2]
const A_IS_HALF_AT_X: u16 = 0x48; // A = P[X + k..X + k + 2]
const X_IS_HEADER: u16 = 0xb1; // X = 4 * (P[k] & 0xf)
const A_AND: u16 = 0x54;
const A_LEFT: u16 = 0x64;
const A_ADD_X: u16 = 0x0c;
const X_IS_A: u16 = 0x07;
const IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

const fn op(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Goes on if `A` is `k`, else passes over `skip` instructions.
const fn unless(k: u32, skip: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: IF_EQUAL,
        jt: 0,
        jf: skip,
        k,
    }
}

const ALL: u32 = u32::MAX;
const NOTHING: u32 = 0;
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
