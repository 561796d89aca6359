//! Certificates for tests, made by openssl in a directory of their own.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// An authority.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

const CONFIG: &str = "\
[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\nserial = serial\nnew_certs_dir = .\n\
certificate = ca.pem\nprivate_key = ca.key\ndefault_md = sha256\npolicy = any\n\
unique_subject = no\n[any]\ncommonName = supplied\n[req]\ndistinguished_name = dn\n[dn]\n\
[authority]\nbasicConstraints = critical,CA:true\nkeyUsage = keyCertSign\n";

impl Authority {
    /// A new one, that nobody trusts yet.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("trunnion-pki-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let own = Self { directory };
        fs::write(own.file("ca.cnf"), CONFIG).unwrap();
        fs::write(own.file("index.txt"), "").unwrap();
        fs::write(own.file("serial"), "01\n").unwrap();
        own.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
             -config ca.cnf -extensions authority -keyout ca.key -out ca.pem \
             -subj /CN=authority-{number}"
        ));
        own
    }

    /// Its own certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// A certificate for a name; `dates` are from and to as openssl-ca(1) wants
    /// them.
    #[must_use]
    pub fn issue(&self, name: &str, dates: Option<(&str, &str)>) -> Identity {
        let extensions = format!("subjectAltName = DNS:{name},IP:127.0.0.1\n");
        let extensions = if name == "127.0.0.1" {
            "subjectAltName = IP:127.0.0.1\n".to_owned()
        } else {
            extensions.replace(",IP:127.0.0.1", "")
        };
        let number = fs::read_dir(&self.directory).unwrap().count();
        let stem = format!("leaf{number}");
        fs::write(self.file(&format!("{stem}.ext")), extensions).unwrap();
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config ca.cnf \
             -keyout {stem}.key -out {stem}.csr -subj /CN={name}"
        ));
        let dates = match dates {
            Some((from, to)) => format!("-startdate {from} -enddate {to}"),
            None => "-days 2".to_owned(),
        };
        self.openssl(&format!(
            "ca -batch -notext -config ca.cnf -extfile {stem}.ext {dates} -in {stem}.csr -out {stem}.pem"
        ));
        Identity {
            certificate: self.file(&format!("{stem}.pem")),
            key: self.file(&format!("{stem}.key")),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn openssl(&self, words: &str) {
        openssl(&self.directory, words);
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn openssl(directory: &Path, words: &str) {
    let output = Command::new("openssl")
        .args(words.split_whitespace())
        .current_dir(directory)
        .output()
        .expect("openssl is installed: cargo xtask setup");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {words}: {stderr}");
}
