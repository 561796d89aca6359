//! `tls`: what a check knows of the TLS below it.

use crate::config::scalar;
use crate::config::section::{At, Notes, Section};
use crate::config::value::wrong_type;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;
use trunnion_core::check::probe::TlsId;

pub(in crate::config) const KEYS: &[&str] = &[
    "name",
    "ca",
    "verify",
    "certificate",
    "key",
    "alpn",
    "expiry_warning",
];

/// How TLS is spoken with a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnedTls {
    /// The name that is asked for and must be in the certificate; without one
    /// it is the target's address.
    pub name: Option<String>,
    /// Authorities that are trusted, PEM; the system's without.
    pub ca: Option<PathBuf>,
    /// Whether the certificate is looked at.
    pub verify: bool,
    /// Our own certificate and its key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Protocols offered.
    pub alpn: Vec<String>,
}

/// Two weeks: what renews certificates by itself does so a month before, and who
/// does it by hand can do it within that.
const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 86_400);

impl OwnedTls {
    /// Its name, by what is in it.
    #[must_use]
    pub fn id(&self) -> TlsId {
        // Always with the same keys: a reload finds the same name.
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        TlsId(hasher.finish())
    }
}

/// The keys of one `tls`.
#[derive(Clone, Debug)]
pub(super) struct TlsRead {
    on: bool,
    name: Option<At<String>>,
    ca: Option<At<PathBuf>>,
    verify: Option<At<bool>>,
    identity: Option<(PathBuf, PathBuf)>,
    alpn: Vec<String>,
    expiry_warning: Option<Duration>,
}

impl TlsRead {
    /// `true`, `false`, or a table that says more.
    pub fn read(of: &Section<'_>, notes: &mut Notes) -> Option<At<Self>> {
        let (key, value) = of.raw("tls")?;
        let span = value.span();
        if let Some(on) = value.get_ref().as_bool() {
            let value = Self {
                on,
                name: None,
                ca: None,
                verify: None,
                identity: None,
                alpn: Vec::new(),
                expiry_warning: None,
            };
            return Some(At { value, span });
        }
        if !value.get_ref().is_table() {
            wrong_type(
                key,
                value,
                "true or a table",
                "write tls = true, or tls = { name = \"www.example.org\" }",
                notes,
            );
            return None;
        }
        let section = Section::of("tls", (key, value), KEYS, notes)?;
        let (certificate, own_key) = (
            section.text("certificate", path, notes),
            section.text("key", path, notes),
        );
        match (section.has("certificate"), section.has("key")) {
            (true, false) => section.missing("key", "key = \"/etc/trunnion/client.key\"", notes),
            (false, true) => section.missing(
                "certificate",
                "certificate = \"/etc/trunnion/client.pem\"",
                notes,
            ),
            (true, true) | (false, false) => {}
        }
        let ca = section.text("ca", path, notes);
        let verify = section.boolean("verify", notes);
        if let (Some(ca), Some(At { value: false, .. })) = (&ca, &verify) {
            notes.error(
                &ca.span,
                "`ca` has no effect with verify = false",
                "remove one",
            );
        }
        let protocol = |text: &str| match text.len() {
            1..=255 => Ok(text.to_owned()),
            _ => Err("write a protocol, such as \"http/1.1\" or \"h2\"".to_owned()),
        };
        let alpn = section.texts("alpn", protocol, notes);
        let range = Duration::ZERO..=Duration::from_secs(364 * 86_400);
        let expiry_warning = section.duration("expiry_warning", range, notes);
        let value = Self {
            on: true,
            name: section.text("name", name, notes),
            ca,
            verify,
            identity: certificate.zip(own_key).map(|(c, k)| (c.value, k.value)),
            alpn: alpn.into_iter().map(|at| at.value).collect(),
            expiry_warning: expiry_warning.map(|at| at.value),
        };
        Some(At { value, span })
    }

    /// With what the check's type says where this says nothing; `None` where it
    /// is off.
    pub fn tls(&self, host: Option<&str>, alpn: Option<&str>) -> Option<OwnedTls> {
        self.on.then(|| OwnedTls {
            name: match &self.name {
                Some(at) => Some(at.value.clone()),
                None => host.map(|host| without_port(host).to_owned()),
            },
            ca: self.ca.as_ref().map(|at| at.value.clone()),
            verify: self.verify.as_ref().is_none_or(|at| at.value),
            identity: self.identity.clone(),
            alpn: if self.alpn.is_empty() {
                alpn.into_iter().map(str::to_owned).collect()
            } else {
                self.alpn.clone()
            },
        })
    }

    /// A certificate that expires sooner is named; 0 names none. What is only looked at
    /// is no part of what is asked. `None` where TLS is off.
    pub fn expiry_warning(&self) -> Option<Duration> {
        self.on
            .then(|| self.expiry_warning.unwrap_or(EXPIRY_WARNING))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.contains(':') => {
            name
        }
        _ => host,
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err("write the whole path, such as \"/etc/ssl/certs/ca.pem\"".to_owned())
    }
}

fn name(text: &str) -> Result<String, String> {
    if scalar::address(text).is_ok() || (scalar::is_name(text) && !text.ends_with('.')) {
        return Ok(text.to_owned());
    }
    Err("write a name such as \"www.example.org\", or an address".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use trunnion_core::check::CheckConfig;

    fn check(tls: &str) -> CheckConfig {
        let text = format!(
            "[[service]]\naddress = \"192.0.2.1:80\"\nbackends = [\"10.0.0.1:80\"]\n\
             check = {{ type = \"http\", tls = {tls} }}\n"
        );
        let config = Config::parse(&text, "t").unwrap();
        config.services[0].backends[0].check().unwrap()
    }

    /// A reload that changes when a certificate is named throws nothing away.
    #[test]
    fn when_a_certificate_is_named_is_no_other_question() {
        let [usual, never] = [check("true"), check("{ expiry_warning = \"0s\" }")];
        assert_eq!(usual.policy.expiry_warning_s, 14 * 86_400);
        assert_eq!(never.policy.expiry_warning_s, 0);
        assert!(usual.same_question(&never));
        assert!(!usual.same_question(&check("{ name = \"www.example\" }")));
        assert_eq!(check("false").policy.expiry_warning_s, 0);
    }
}
