//! Users by their names.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;

/// A user and its first group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
}

/// Bytes of an entry at most.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// The user of this name, from wherever the host keeps them (getpwnam(3), so this
/// may wait for a server, and allocates); `None` if there is none.
///
/// # Errors
/// `EIO`, `EMFILE`, `ENFILE`, `ENOMEM`, and whatever the place they are kept in
/// says.
pub fn named(name: &str) -> io::Result<Option<User>> {
    let Ok(name) = CString::new(name) else {
        return Ok(None);
    };
    let mut buffer = vec![0_u8; 1024];
    loop {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: the name ends with a NUL; the others are written to, the buffer
        // no further than its length.
        let error = unsafe {
            libc::getpwnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut found,
            )
        };
        if error == libc::ERANGE && buffer.len() < ENTRY_BYTES_MAX {
            buffer.resize(2 * buffer.len(), 0);
            continue;
        }
        if found.is_null() {
            return match error {
                // What getpwnam(3) says others say for "not found".
                0 | libc::ENOENT | libc::ESRCH | libc::EPERM => Ok(None),
                error => Err(io::Error::from_raw_os_error(error)),
            };
        }
        // SAFETY: found, so it was written.
        let entry = unsafe { entry.assume_init() };
        return Ok(Some(User {
            uid: entry.pw_uid,
            gid: entry.pw_gid,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        let root = named("root").unwrap();
        assert_eq!(root, Some(User { uid: 0, gid: 0 }));
        assert_eq!(named("no such user").unwrap(), None);
        assert_eq!(named("a\0b").unwrap(), None);
    }
}
