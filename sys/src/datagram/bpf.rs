//! Classic BPF (linux/filter.h): which packets a raw socket gets.

use super::set;
use std::io;
use std::os::fd::OwnedFd;

/// Gives a socket a filter: it gets what the program returns more than 0 for.
pub(super) fn attach(fd: &OwnedFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or(0),
        filter: program.as_mut_ptr(),
    };
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

// Classic BPF (linux/filter.h): `A` and `X` are registers, `P` is the packet.
pub(super) const A_IS_BYTE: u16 = 0x30; // A = P[k]
pub(super) const A_IS_BYTE_AT_X: u16 = 0x50; // A = P[X + k]
pub(super) const A_IS_HALF: u16 = 0x28; // A = P[k..k + 2]
pub(super) const A_IS_HALF_AT_X: u16 = 0x48; // A = P[X + k..X + k + 2]
pub(super) const X_IS_HEADER: u16 = 0xb1; // X = 4 * (P[k] & 0xf)
pub(super) const A_AND: u16 = 0x54;
pub(super) const A_LEFT: u16 = 0x64;
pub(super) const A_ADD_X: u16 = 0x0c;
pub(super) const X_IS_A: u16 = 0x07;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const RETURN: u16 = 0x06;

/// One instruction.
pub(super) const fn op(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Goes on if `A` is `k`, else passes over `skip` instructions.
pub(super) const fn unless(k: u32, skip: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: IF_EQUAL,
        jt: 0,
        jf: skip,
        k,
    }
}

/// Passes over `skip` instructions if `A` is `k`.
pub(super) const fn when(k: u32, skip: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: IF_EQUAL,
        jt: skip,
        jf: 0,
        k,
    }
}

pub(super) const ALL: u32 = u32::MAX;
pub(super) const NOTHING: u32 = 0;
