//! Error numbers of the kernel.

use core::fmt;

numbers! {
    /// A positive error number of Linux, with asm-generic's values (the same on
    /// x86, arm, risc-v, powerpc and s390; errno(3)). What one means depends on
    /// the command it answers: see the room that sent it.
    Errno(i32) {
        /// Operation not permitted.
        EPERM = 1;
        /// No such file, name, or generic netlink family.
        ENOENT = 2;
        /// No such process; in netlink: no such object.
        ESRCH = 3;
        /// Interrupted.
        EINTR = 4;
        /// Input/output error.
        EIO = 5;
        /// No such device or address.
        ENXIO = 6;
        /// Try again.
        EAGAIN = 11;
        /// Out of memory.
        ENOMEM = 12;
        /// Permission denied.
        EACCES = 13;
        /// Busy.
        EBUSY = 16;
        /// Exists.
        EEXIST = 17;
        /// No such device.
        ENODEV = 19;
        /// Invalid argument.
        EINVAL = 22;
        /// Out of file descriptors for this process.
        EMFILE = 24;
        /// Out of range.
        ERANGE = 34;
        /// Message too long.
        EMSGSIZE = 90;
        /// Protocol not available.
        ENOPROTOOPT = 92;
        /// Operation not supported.
        EOPNOTSUPP = 95;
        /// Address family not supported.
        EAFNOSUPPORT = 97;
        /// Address in use.
        EADDRINUSE = 98;
        /// Address not available.
        EADDRNOTAVAIL = 99;
        /// Network is down.
        ENETDOWN = 100;
        /// Network is unreachable.
        ENETUNREACH = 101;
        /// No buffer space: replies were lost.
        ENOBUFS = 105;
        /// Timed out.
        ETIMEDOUT = 110;
        /// No route to host.
        EHOSTUNREACH = 113;
    }
}

impl Errno {
    /// The outcome of a kernel's answer: 0 is success, `-errno` an error. A
    /// positive answer, which no kernel gives, is an error as well.
    ///
    /// # Errors
    /// The errno, when the answer is one.
    pub const fn outcome(answer: i32) -> Result<(), Self> {
        match answer {
            0 => Ok(()),
            error => Err(Self(error.saturating_abs())),
        }
    }
}

/// `ESRCH`, or `errno 200` where it has no name here.
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn answers_become_outcomes() {
        assert_eq!(Errno::outcome(0), Ok(()));
        assert_eq!(Errno::outcome(-3), Err(Errno::ESRCH));
        assert_eq!(Errno::outcome(i32::MIN), Err(Errno(i32::MAX)));
        assert_eq!(Errno::ESRCH.to_string(), "ESRCH");
        assert_eq!(Errno(200).to_string(), "errno 200");
    }
}
