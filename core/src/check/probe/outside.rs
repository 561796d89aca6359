//! Checks that others make: a command's exit status, a number in a file. Only
//! what these mean; who runs the command and reads the file is no part of core.

use crate::check::{Reason, Verdict};

/// Bytes of a file that are read at most; more is no weight.
pub const FILE_BYTES_MAX: usize = 64;
/// The greatest weight IPVS takes.
const WEIGHT_MAX: u32 = 65_535;

/// How a command ended (wait(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// It called exit(3) with this status.
    Status(u8),
    /// This signal ended it.
    Signal(u8),
}

/// A verdict, and the weight that came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// The verdict.
    pub verdict: Verdict,
    /// The weight the target should have; `None` leaves it as configured.
    pub weight: Option<u32>,
}

impl Weighed {
    const fn failed(reason: Reason) -> Self {
        Self {
            verdict: Verdict::Failure(reason),
            weight: None,
        }
    }

    const fn up(weight: Option<u32>) -> Self {
        Self {
            verdict: Verdict::Success,
            weight,
        }
    }
}

/// What the end of a command means: success is status 0. If `weighs`, as
/// keepalived's `misc_dynamic` (keepalived.conf(5), MISC_CHECK), only 1 is a
/// failure, and from 2 on the weight is 2 less than the status.
#[must_use]
pub const fn exec(exit: Exit, weighs: bool) -> Weighed {
    match exit {
        Exit::Signal(_) => Weighed::failed(Reason::ExecSignal),
        Exit::Status(0) => Weighed::up(None),
        Exit::Status(status @ 2..) if weighs => {
            Weighed::up(Some((status as u32).saturating_sub(2)))
        }
        Exit::Status(_) => Weighed::failed(Reason::ExecStatus),
    }
}

/// What the content of a file means, `None` if there is no file: a number from 0
/// to 65535, blanks around it, is the weight. 0 drains.
#[must_use]
pub fn file(content: Option<&[u8]>) -> Weighed {
    let Some(content) = content else {
        return Weighed::failed(Reason::FileMissing);
    };
    match weight(content) {
        Some(weight) => Weighed::up(Some(weight)),
        None => Weighed::failed(Reason::FileMalformed),
    }
}

fn weight(content: &[u8]) -> Option<u32> {
    let digits = content.trim_ascii();
    if content.len() > FILE_BYTES_MAX || digits.is_empty() {
        return None;
    }
    let mut weight = 0_u32;
    for digit in digits {
        let digit = char::from(*digit).to_digit(10)?;
        weight = weight.checked_mul(10)?.checked_add(digit)?;
    }
    (weight <= WEIGHT_MAX).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_means_what_keepalived_says() {
        let failed = Weighed::failed(Reason::ExecStatus);
        #[rustfmt::skip]
        let table = [
            (Exit::Status(0), Weighed::up(None), Weighed::up(None)),
            (Exit::Status(1), failed, failed),
            (Exit::Status(2), failed, Weighed::up(Some(0))),
            (Exit::Status(255), failed, Weighed::up(Some(253))),
            (Exit::Signal(9), Weighed::failed(Reason::ExecSignal), Weighed::failed(Reason::ExecSignal)),
        ];
        for (exit, plain, weighed) in table {
            assert_eq!(exec(exit, false), plain, "{exit:?}");
            assert_eq!(exec(exit, true), weighed, "{exit:?}");
        }
    }

    #[test]
    fn a_file_has_a_weight_or_none() {
        assert_eq!(file(None), Weighed::failed(Reason::FileMissing));
        for (content, weight) in [
            (&b"0"[..], 0),
            (b"100\n", 100),
            (b" \t65535 \r\n", 65_535),
            (b"007", 7),
        ] {
            assert_eq!(
                file(Some(content)),
                Weighed::up(Some(weight)),
                "{content:?}"
            );
        }
        let long = [b'0'; FILE_BYTES_MAX + 1];
        for content in [
            &b""[..],
            b"\n",
            b"65536",
            b"99999999999",
            b"-1",
            b"+1",
            b"1 2",
            b"1%",
            b"up",
            b"\xff",
            &long,
        ] {
            let malformed = Weighed::failed(Reason::FileMalformed);
            assert_eq!(file(Some(content)), malformed, "{content:?}");
        }
    }
}
