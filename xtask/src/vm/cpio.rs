//! An initramfs: files in a cpio archive of the kind "newc", uncompressed.
//! Source: linux Documentation/driver-api/early-userspace/buffer-format.rst.

use crate::failure::{Failure, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// An archive under construction. A path is put in once; later ones of the same
/// name are passed over.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    made: BTreeSet<PathBuf>,
}

const DIRECTORY: u32 = 0o40_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

impl Archive {
    /// Puts in a directory and those above it.
    pub fn directory(&mut self, path: &Path) {
        let above: Vec<_> = path.ancestors().collect();
        for path in above.into_iter().rev() {
            self.entry(path, DIRECTORY | 0o755, &[]);
        }
    }

    /// Puts in a file that anyone may execute.
    pub fn file(&mut self, path: &Path, bytes: &[u8]) {
        self.directory(path.parent().unwrap_or(path));
        self.entry(path, FILE | 0o755, bytes);
    }

    /// Puts in a file of the host, at `path`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn host_file(&mut self, path: &Path, from: &Path) -> Result {
        let bytes = fs::read(from).map_err(Failure::io("cannot read", from))?;
        self.file(path, &bytes);
        Ok(())
    }

    /// Puts in a symbolic link.
    pub fn link(&mut self, path: &Path, to: &str) {
        self.directory(path.parent().unwrap_or(path));
        self.entry(path, LINK | 0o777, to.as_bytes());
    }

    /// The archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.made.clear();
        self.entry(Path::new("/TRAILER!!!"), 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &Path, mode: u32, data: &[u8]) {
        let name = path.strip_prefix("/").unwrap_or(path);
        if name.as_os_str().is_empty() || !self.made.insert(path.to_owned()) {
            return;
        }
        let name = name.to_string_lossy();
        let inode = self.made.len();
        // Inode, mode, owner, group, links, time, length, devices, length of
        // the name with its NUL, checksum; writing to a Vec cannot fail.
        let _ = write!(
            self.bytes,
            "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{2:08x}{0:08x}{0:08x}{0:08x}{0:08x}{3:08x}{0:08x}{name}\0",
            0,
            1,
            data.len(),
            name.len() + 1,
        );
        self.align();
        self.bytes.extend_from_slice(data);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_a_name_and_data_on_words() {
        let mut archive = Archive::default();
        archive.file(Path::new("/a/b"), b"hello");
        archive.file(Path::new("/a/b"), b"again");
        archive.link(Path::new("/a/c"), "b");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        let header = |inode: u32, mode: u32, len: u32, name: u32| {
            format!(
                "070701{inode:08x}{mode:08x}{0:08x}{0:08x}00000001{0:08x}{len:08x}{0:08x}{0:08x}{0:08x}{0:08x}{name:08x}{0:08x}",
                0
            )
        };
        let expect = [
            header(1, 0o40_755, 0, 2) + "a\0",
            header(2, 0o100_755, 5, 4) + "a/b\0\0\0hello\0\0\0",
            header(3, 0o120_777, 1, 4) + "a/c\0\0\0b\0\0\0",
            header(1, 0, 0, 11) + "TRAILER!!!\0\0\0\0",
        ];
        assert_eq!(text, expect.concat());
    }
}
