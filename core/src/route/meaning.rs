//! What an error number means in answer to a command.

use super::Command;
use crate::netlink::Errno;

/// What a request that succeeded did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It changed what was there.
    Changed,
    /// It was so already.
    AlreadySo,
}

/// What came of adding an address, by the kernel's answer: one that is there
/// already is no failure.
///
/// # Errors
/// Any other error number.
pub const fn added(answer: Result<(), Errno>) -> Result<Effect, Errno> {
    match answer {
        Ok(()) => Ok(Effect::Changed),
        Err(Errno::EEXIST) => Ok(Effect::AlreadySo),
        Err(errno) => Err(errno),
    }
}

/// What came of deleting an address, by the kernel's answer: one that is not
/// there is no failure, and an interface that is gone has none.
///
/// # Errors
/// Any other error number.
pub const fn deleted(answer: Result<(), Errno>) -> Result<Effect, Errno> {
    match answer {
        Ok(()) => Ok(Effect::Changed),
        Err(Errno::EADDRNOTAVAIL | Errno::ENODEV | Errno::ENXIO) => Ok(Effect::AlreadySo),
        Err(errno) => Err(errno),
    }
}

/// The sentence an operator reads when the kernel answers `command` with
/// `errno`: what is wrong and, where it helps, what to do.
#[must_use]
pub const fn meaning(command: Command, errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => "not permitted: run with CAP_NET_ADMIN in the network's user namespace",
        Errno::ENODEV | Errno::ENXIO => "no such interface",
        Errno::ENOBUFS | Errno::ENOMEM => "the kernel is out of memory",
        Errno::EBUSY => match command {
            Command::NEWLINK | Command::SETLINK => {
                "the interface belongs to a bridge or bond, or another link has this MAC address"
            }
            _ => "another dump is still running on this socket",
        },
        Errno::EOPNOTSUPP => match command {
            Command::NEWLINK => "the kernel has no such kind of link (modprobe macvlan)",
            _ => "the kernel was built without this address family",
        },
        Errno::EEXIST => match command {
            Command::NEWLINK => "an interface of this name is there already",
            _ => "the interface has this address already",
        },
        Errno::EADDRNOTAVAIL => match command {
            Command::NEWADDR => {
                "an interface cannot have this address, or has no ipv6 (an mtu below 1280?)"
            }
            _ => "the interface has no such address with this prefix length",
        },
        Errno::EACCES => match command {
            Command::NEWADDR => {
                "ipv6 is disabled on this interface (sysctl net.ipv6.conf.NAME.disable_ipv6)"
            }
            _ => "not permitted",
        },
        Errno::EINVAL => "the kernel finds the request invalid",
        _ => "the kernel refused",
    }
}
