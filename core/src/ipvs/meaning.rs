//! What an error number means in answer to a command.

use super::Command;
use crate::netlink::Errno;

/// The sentence an operator reads when the kernel answers `command` with
/// `errno`: what is wrong and, where it helps, what to do. Kernels 6.1 to 7.3.
#[must_use]
pub const fn meaning(command: Command, errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => {
            "not permitted: run with CAP_NET_ADMIN in the initial user namespace (rootless \
             containers cannot program ipvs)"
        }
        Errno::ENOMEM => "the kernel is out of memory",
        Errno::ENOPROTOOPT => "the kernel was built without what this request needs",
        Errno::EOPNOTSUPP => "this kernel's ipvs does not know the command",
        Errno::EBUSY => "another dump is still running on this socket",
        Errno::EAFNOSUPPORT => match command {
            Command::NEW_DAEMON => "this kernel's ipvs has no ipv6: use an ipv4 group",
            _ => "address family not supported: is ipv6 enabled in the kernel and in ip_vs?",
        },
        Errno::EEXIST => match command {
            Command::NEW_SERVICE => "the service is there already",
            Command::NEW_DEST => "the destination is there already in this service",
            Command::NEW_DAEMON => "a synchronization daemon of this kind runs already",
            _ => "it is there already",
        },
        Errno::ESRCH => match command {
            Command::DEL_DAEMON => "no synchronization daemon of this kind runs",
            Command::NEW_DEST | Command::SET_DEST | Command::DEL_DEST => {
                "the service of this destination is not there"
            }
            _ => "the service is not there",
        },
        Errno::ENOENT => match command {
            Command::NEW_SERVICE | Command::SET_SERVICE => {
                "the kernel has no such scheduler or persistence engine (module ip_vs_NAME or \
                 ip_vs_pe_NAME), or ip_vs was unloaded"
            }
            Command::SET_DEST | Command::DEL_DEST => {
                "the destination is not in this service, or ip_vs was unloaded"
            }
            _ => "the kernel has no ipvs: load it with modprobe ip_vs",
        },
        Errno::EINVAL => match command {
            Command::NEW_DEST | Command::SET_DEST => {
                "invalid destination: its address must be unicast or local (in a namespace without any \
                 address none is: bring lo up); gue needs a port; the other address family needs a \
                 tunnel and no synchronization daemon; thresholds go up to 2147483647"
            }
            Command::NEW_SERVICE | Command::SET_SERVICE => {
                "invalid service: check the prefix length (ipv6: 1 to 128) and that the scheduler \
                 and its flags go together"
            }
            Command::SET_CONFIG => "a timeout is out of range",
            Command::NEW_DAEMON => {
                "invalid synchronization daemon: check state and multicast group; destinations of \
                 the other address family exclude it"
            }
            Command::DEL_DAEMON => "a synchronization daemon is 'master' or 'backup'",
            Command::DEL_SERVICE | Command::GET_SERVICE | Command::ZERO => {
                "the request does not name a service: protocol, address and port, or a firewall mark"
            }
            Command::DEL_DEST => "the request does not name a destination: address and port",
            _ => "the kernel calls the request invalid",
        },
        Errno::ERANGE => match command {
            Command::NEW_DEST | Command::SET_DEST => {
                "weight is negative, or the lower threshold is above the upper one"
            }
            _ => "a value is out of range",
        },
        Errno::ENODEV => "the synchronization daemon's interface is not there",
        Errno::ENETUNREACH | Errno::ENETDOWN => {
            "the synchronization daemon's group cannot be reached: is its interface up?"
        }
        Errno::EADDRNOTAVAIL => {
            "the synchronization daemon's interface has no address of the group's family"
        }
        Errno::EADDRINUSE => {
            "another program listens on the synchronization daemon's port: choose another port"
        }
        Errno::EMSGSIZE => "the batch is larger than the socket's send buffer",
        Errno::ENOBUFS => "replies were lost: the state of the table is unknown until it is dumped",
        _ => "the kernel refuses the request for a reason it does not use for this command",
    }
}
