//! Names of interfaces.

use core::fmt;
use core::str::FromStr;

/// The most bytes a name has: `IFNAMSIZ` without its NUL.
pub const NAME_BYTES_MAX: usize = 15;

/// The name of an interface: 1 to 15 bytes, not always text (the kernel takes
/// any bytes but `/`, `:`, white space and NUL).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName {
    /// Zeros after the name.
    bytes: [u8; NAME_BYTES_MAX],
    len: u8,
}

/// Text that no interface can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// Empty, or longer than 15 bytes.
    Length {
        /// Its length, bytes.
        bytes: usize,
    },
    /// `.` or `..`, which would be directories of sysfs.
    Dots,
    /// A byte that may not be in it: `/`, `:`, white space or NUL.
    Byte {
        /// The byte.
        byte: u8,
    },
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { bytes } => {
                write!(
                    f,
                    "interface names have 1 to {NAME_BYTES_MAX} bytes, not {bytes}"
                )
            }
            Self::Dots => f.write_str("no interface can be called . or .."),
            Self::Byte { byte } => write!(
                f,
                "interface names cannot have '{}' in them",
                byte.escape_ascii()
            ),
        }
    }
}

impl core::error::Error for BadName {}

impl LinkName {
    /// A name, by the kernel's own rule (`dev_valid_name`).
    ///
    /// # Errors
    /// [`BadName`].
    pub fn new(name: &[u8]) -> Result<Self, BadName> {
        let bad_length = BadName::Length { bytes: name.len() };
        let len = u8::try_from(name.len()).map_err(|_| bad_length)?;
        let mut bytes = [0; NAME_BYTES_MAX];
        let Some(place) = bytes.get_mut(..name.len()) else {
            return Err(bad_length);
        };
        place.copy_from_slice(name);
        match name {
            [] => return Err(bad_length),
            b"." | b".." => return Err(BadName::Dots),
            _ => {}
        }
        // The kernel's isspace: with the vertical tab, and Latin-1's 0xa0 even
        // where it is a part of UTF-8.
        let bad = |byte: &u8| matches!(byte, b'/' | b':' | 0 | b' ' | 0x09..=0x0d | 0xa0);
        if let Some(byte) = name.iter().copied().find(bad) {
            return Err(BadName::Byte { byte });
        }
        Ok(Self { bytes, len })
    }

    /// The name's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// The name as text, when it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        str::from_utf8(self.as_bytes()).ok()
    }
}

impl FromStr for LinkName {
    type Err = BadName;
    fn from_str(name: &str) -> Result<Self, BadName> {
        Self::new(name.as_bytes())
    }
}

/// The name, with bytes that are not text as U+FFFD.
impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.as_str() {
            return f.pad(name);
        }
        for chunk in self.as_bytes().utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn what_the_kernel_takes() {
        for name in ["a", "eth0", "eth0.100", "fifteen-bytes-x", "...", "größe"] {
            let parsed: LinkName = name.parse().unwrap();
            assert_eq!(parsed.to_string(), name);
            assert_eq!(parsed.as_str(), Some(name));
        }
        let odd = LinkName::new(b"x\xff\xfey").unwrap();
        assert_eq!(odd.to_string(), "x\u{fffd}\u{fffd}y");
        assert_eq!(std::format!("{odd:?}"), r#""x\xff\xfey""#);
        assert_eq!(odd.as_str(), None);
    }

    #[test]
    fn what_it_does_not() {
        let bad = |name: &str| name.parse::<LinkName>().unwrap_err();
        assert_eq!(bad(""), BadName::Length { bytes: 0 });
        assert_eq!(bad("sixteen-bytes-xx"), BadName::Length { bytes: 16 });
        assert_eq!(bad(&"x".repeat(300)), BadName::Length { bytes: 300 });
        assert_eq!((bad("."), bad("..")), (BadName::Dots, BadName::Dots));
        for byte in *b"/: \t\n\x0b\x0c\r\0" {
            assert_eq!(LinkName::new(&[b'a', byte]), Err(BadName::Byte { byte }));
        }
        assert_eq!(
            bad("eth0:1").to_string(),
            "interface names cannot have ':' in them"
        );
    }
}
