//! Checks by datagrams whose protocol has no more to say, and those that a command
//! or a file makes.

use super::ProbeRead;
use super::script::OwnedScript;
use crate::config::section::{Notes, Span};
use crate::run::runner::WORDS_BYTES_MAX;
use trunnion_core::check::probe::outside::{Command, Errand};
use trunnion_core::check::probe::radius::{Expected, RadiusError, Request};
use trunnion_core::check::probe::{Expect, Ping, Radius, Spec};
use trunnion_sys::datagram::DATAGRAM_BYTES_MAX;
use trunnion_sys::user;

/// The identifier of this process's echo requests.
pub fn echo_identifier() -> u16 {
    let [.., high, low] = std::process::id().to_be_bytes();
    u16::from_be_bytes([high, low])
}

impl ProbeRead {
    pub(super) fn udp(&self, span: &Span, notes: &mut Notes) -> Option<OwnedScript> {
        let send = self.send.as_ref();
        let bytes = send.map_or(&[][..], |at| &at.value);
        if let Some(at) = send.filter(|at| at.value.len() > DATAGRAM_BYTES_MAX) {
            notes.error(
                &at.span,
                format!(
                    "`send` has {} bytes: a datagram has {DATAGRAM_BYTES_MAX} at most",
                    bytes.len()
                ),
                "write less",
            );
            return None;
        }
        let expect = Expect::new(bytes, self.expected());
        self.finish(&Spec::Datagram(expect), None, span, notes)
    }

    pub(super) fn icmp(&self, span: &Span, notes: &mut Notes) -> Option<OwnedScript> {
        let ping = Ping {
            // The backend's takes its place.
            target: std::net::Ipv4Addr::UNSPECIFIED.into(),
            identifier: echo_identifier(),
        };
        self.finish(&Spec::Ping(ping), None, span, notes)
    }

    pub(super) fn radius(&self, span: &Span, notes: &mut Notes) -> Option<OwnedScript> {
        let Some(secret) = &self.secret else {
            notes.error(
                span,
                "`check` has no `secret`",
                "add secret = \"…\", the one the server has for this node",
            );
            return None;
        };
        if let (None, Some(password)) = (&self.user, &self.password) {
            notes.error(
                &password.span,
                "`password` without `user`",
                "add user = \"…\", or remove it: then the server is asked for its status",
            );
            return None;
        }
        let request = match &self.user {
            Some(user) => Request::Access {
                user: &user.value,
                password: self.password.as_ref().map_or(&[][..], |at| &at.value),
            },
            None => Request::Status,
        };
        let radius = Radius {
            request,
            nas_identifier: self
                .nas_identifier
                .as_ref()
                .map_or("trunnion", |at| &at.value),
            expected: self
                .response
                .as_ref()
                .map_or(Expected::Accept, |at| at.value),
            require_signed: self.signed.as_ref().is_some_and(|at| at.value),
            ..Radius::access(&secret.value, "", b"")
        };
        if let Err(error) = radius.check() {
            let (key, at) = match error {
                RadiusError::Secret => ("secret", &secret.span),
                RadiusError::Password => {
                    let at = self.password.as_ref().map_or(span, |at| &at.span);
                    ("password", at)
                }
                RadiusError::Name => match (&self.user, &self.nas_identifier) {
                    (_, Some(at)) if at.value.len() > 253 => ("nas_identifier", &at.span),
                    (Some(at), _) => ("user", &at.span),
                    (None, _) => ("user", span),
                },
            };
            notes.error(at, format!("`{key}` cannot be sent"), error);
            return None;
        }
        self.finish(&Spec::Radius(&radius), None, span, notes)
    }

    pub(super) fn exec(&self, span: &Span, notes: &mut Notes) -> Option<OwnedScript> {
        let Some(command) = &self.command else {
            notes.error(
                span,
                "`check` has no `command`",
                "add command = [\"/path/of/a/program\", \"{address}\"]",
            );
            return None;
        };
        if command.value.is_empty() {
            return None;
        }
        let mut words = Vec::new();
        for word in &command.value {
            words.extend_from_slice(word.as_bytes());
            words.push(0);
        }
        // An address is longer than the word that stands for it.
        let places = words.windows(2).filter(|pair| pair == b"{a").count();
        if words.len() + places * 40 > WORDS_BYTES_MAX {
            notes.error(
                &command.span,
                format!("`command` has {} bytes, {WORDS_BYTES_MAX} fit", words.len()),
                "write a script that says the rest",
            );
            return None;
        }
        let user = match &self.user {
            None => None,
            Some(at) => Some(match user::named(&at.value) {
                Ok(Some(user)) => user,
                Ok(None) => {
                    notes.error(
                        &at.span,
                        format!("this host has no user `{}`", at.value),
                        "write one of /etc/passwd, such as \"nobody\"",
                    );
                    return None;
                }
                Err(error) => {
                    notes.error(
                        &at.span,
                        format!("`user` cannot be looked up: {error}"),
                        "try again",
                    );
                    return None;
                }
            }),
        };
        let command = Command {
            words: &words,
            user: user.map(|user| (user.uid, user.gid)),
            weighs: self.weigh.as_ref().is_some_and(|at| at.value),
        };
        self.finish(&Spec::Errand(Errand::Exec(command)), None, span, notes)
    }

    pub(super) fn file(&self, span: &Span, notes: &mut Notes) -> Option<OwnedScript> {
        let Some(path) = &self.path else {
            notes.error(
                span,
                "`check` has no `path`",
                "add path = \"/run/weights/{address}\"",
            );
            return None;
        };
        let bytes = path.value.as_bytes();
        if !bytes.starts_with(b"/") || bytes.contains(&0) || bytes.len() > WORDS_BYTES_MAX {
            notes.error(
                &path.span,
                format!("`path` cannot be `{}`", path.value),
                "write a whole path, beginning with /",
            );
            return None;
        }
        self.finish(&Spec::Errand(Errand::File(bytes)), None, span, notes)
    }
}
