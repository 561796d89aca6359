//! Kernel parameters, read and written as texts below /proc/sys. What a
//! parameter means, and which values are legal, is not known here.
//!
//! Source: sysctl(8), proc_sys(5); parameters of `net` are those of the calling
//! thread's network namespace, at each call.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A tree of parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    root: PathBuf,
}

impl Default for Tree {
    fn default() -> Self {
        Self::at("/proc/sys")
    }
}

impl Tree {
    /// The tree at another place than /proc/sys.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A parameter's text, without white space at its ends.
    ///
    /// # Errors
    /// `NotFound` for one that this kernel, or this namespace, has not;
    /// `InvalidInput` for what is no name; otherwise those of read(2).
    pub fn read(&self, name: &str) -> io::Result<String> {
        let text = fs::read_to_string(self.path(name)?)?;
        Ok(text.trim().to_owned())
    }

    /// Writes a parameter in one piece, and makes none.
    ///
    /// # Errors
    /// `NotFound` and `InvalidInput` as [`Self::read`]; `PermissionDenied`
    /// without the privilege, or for one that is read-only here; `InvalidInput`
    /// too when the kernel refuses the value.
    pub fn write(&self, name: &str, value: &str) -> io::Result<()> {
        let path = self.path(name)?;
        let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
        file.write_all(format!("{value}\n").as_bytes())
    }

    /// The names of the parameters and groups in a group, sorted.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn list(&self, name: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(name)?)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// `net.ipv4.conf.eth0/100.rp_filter`: a dot divides, a slash is a dot of
    /// the name (sysctl(8)).
    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let mut path = self.root.clone();
        for part in name.split('.') {
            let part = part.replace('/', ".");
            if matches!(part.as_str(), "" | "." | "..") || part.contains('\0') {
                let why = format!("{name:?} is no name of a kernel parameter");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            path.push(Path::new(&part));
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_read_and_written() {
        let root = std::env::temp_dir().join(format!("trunnion-sysctl-{}", std::process::id()));
        let group = root.join("net/ipv4/conf/eth0.100");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("rp_filter"), " 2\t3\n").unwrap();
        let tree = Tree::at(&root);
        let name = "net.ipv4.conf.eth0/100.rp_filter";
        assert_eq!(tree.read(name).unwrap(), "2\t3");
        tree.write(name, "0").unwrap();
        assert_eq!(fs::read_to_string(group.join("rp_filter")).unwrap(), "0\n");
        assert_eq!(tree.list("net.ipv4.conf").unwrap(), ["eth0.100"]);
        let missing = tree.write("net.ipv4.conf.eth0/100.other", "1");
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!group.join("other").exists());
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        for name in ["", ".", "net..ipv4", "net.//.//.etc", "net./.x", "a.b\0"] {
            let refused = Tree::default().read(name).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }

    #[test]
    fn the_kernels_own_is_there() {
        let release = Tree::default().read("kernel.osrelease").unwrap();
        assert!(
            release.starts_with(|c: char| c.is_ascii_digit()),
            "{release}"
        );
    }
}
