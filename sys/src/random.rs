//! Bytes that nobody can guess.

use crate::syscall::check_len;
use std::io;

/// Words of the system's generator (getrandom(2)); waits until it is seeded,
/// which it is soon after the boot.
///
/// # Errors
/// None on Linux since 3.17, unless a seccomp filter forbids the call.
pub fn words<const N: usize>() -> io::Result<[u64; N]> {
    let mut words = [0_u64; N];
    let len = size_of_val(&words);
    loop {
        // SAFETY: `words` is live and has `len` bytes, all of which may be
        // anything; the kernel writes no more than that.
        let got = unsafe { libc::getrandom(words.as_mut_ptr().cast(), len, 0) };
        match check_len(got) {
            // Up to 256 bytes come whole (getrandom(2), "Interruption by a signal").
            Ok(_) => return Ok(words),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_not_the_same_twice() {
        let [first, second] = [(); 2].map(|()| words::<2>().unwrap());
        assert_ne!(first, second);
        assert_ne!(first[0], first[1]);
    }
}
