//! Named pipes that are written to without ever waiting for a reader.

use crate::syscall::check;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens the named pipe at `path`, which is made for its owner alone (mode 0600)
/// where there is none. What is written waits in the pipe for a reader, so that
/// none need be there; a full pipe refuses with `WouldBlock`, and what is not
/// longer than 4,096 bytes (`PIPE_BUF`) is taken whole or not at all.
///
/// # Errors
/// `InvalidInput` when a file that is no pipe is there, and errors of mkfifo(3)
/// and open(2).
pub fn open(path: &Path) -> io::Result<File> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the name ends with a NUL and outlives the call.
    match check(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    // Both ways: to open for writing alone needs a reader.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        let words = format!("{} is there and no named pipe", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};

    #[test]
    fn lines_wait_for_a_reader_and_a_full_pipe_refuses_them_whole() {
        let path = std::env::temp_dir().join(format!("trunnion-fifo-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut first = open(&path).unwrap();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let mut written = 0_usize;
        let refused = loop {
            match first.write(&line) {
                Ok(len) => {
                    assert_eq!(len, line.len());
                    written += 1;
                }
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(written > 100);
        // Opened again it is the same one.
        let reader = BufReader::new(open(&path).unwrap());
        let read = reader.lines().map_while(Result::ok).count();
        assert_eq!(read, written);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        let error = open(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        std::fs::remove_file(&path).unwrap();
    }
}
