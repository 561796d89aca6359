//! What can go wrong, by whose fault it is.

use std::fmt;
use std::io;
use trunnion_core::ipvs::{Command, Refused, meaning};
use trunnion_core::model::Full;
use trunnion_core::netlink::{Errno, Malformed, Words};

/// Why a call failed.
#[derive(Debug)]
pub enum Error {
    /// The request breaks a rule; it was not sent.
    Refused(Refused),
    /// The kernel refused it. `Display` says what the number means for this
    /// command.
    Kernel {
        /// The command.
        command: Command,
        /// The kernel's answer.
        errno: Errno,
        /// The kernel's own words; mostly empty, for IPVS has them only about
        /// attributes that break the format.
        words: Words,
    },
    /// The answer is missing or part of it was lost: the kernel may have carried
    /// the request out or not. Dump the table to know.
    Unknown,
    /// The kernel has no IPVS and could not load it.
    NoIpvs,
    /// The kernel's answer breaks the format.
    Malformed(Malformed),
    /// A system call on the socket failed.
    Io(io::Error),
    /// The kernel's table does not fit the caller's storage.
    TooLarge(Full),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => fmt::Display::fmt(refused, f),
            Self::Kernel {
                command,
                errno,
                words,
            } => {
                let meaning = meaning(*command, *errno);
                write!(f, "{meaning} ({errno} to {command:?})")?;
                if words.is_empty() {
                    Ok(())
                } else {
                    write!(f, "; the kernel says: {words}")
                }
            }
            Self::Unknown => f.write_str(
                "the kernel's answer is missing, so its state is unknown: dump the table to know",
            ),
            Self::NoIpvs => f.write_str("the kernel has no ipvs: load it with modprobe ip_vs"),
            Self::Malformed(malformed) => write!(f, "malformed answer: {malformed}"),
            Self::Io(error) => write!(f, "netlink: {error}"),
            Self::TooLarge(Full::Services(room)) => write!(
                f,
                "the kernel has more services than the {room} there is room for: give more"
            ),
            Self::TooLarge(Full::Destinations(room)) => write!(
                f,
                "the kernel has more destinations than the {room} there is room for: give more"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Malformed(malformed) => Some(malformed),
            Self::Refused(refused) => Some(refused),
            Self::Kernel { errno, .. } => Some(errno),
            Self::Unknown | Self::NoIpvs | Self::TooLarge(_) => None,
        }
    }
}

/// What became of one change of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel carried it out.
    Done,
    /// The kernel refused it.
    Failed(Errno),
    /// It breaks a rule; it was not sent.
    Refused(Refused),
    /// It was sent and no answer is known.
    Unknown,
    /// It was not sent, because one before it is unknown or the socket failed.
    NotSent,
}
