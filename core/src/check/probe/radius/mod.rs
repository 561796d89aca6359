//! RADIUS: an Access-Request with PAP (RFC 2865) or a Status-Server (RFC 5997),
//! both with a Message-Authenticator (RFC 3579 3.2), without which servers that
//! guard against forged answers drop a request. Not a client: the user of a
//! check should be one that may do nothing.

use super::{NO_ROOM, Step, Token, failure, success};
use crate::bytes::{NetworkEndian, Reader, Short, Writer};
use crate::check::Reason;
use core::fmt;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};

const ACCESS_REQUEST: u8 = 1;
const ACCESS_ACCEPT: u8 = 2;
const ACCESS_REJECT: u8 = 3;
const ACCOUNTING_RESPONSE: u8 = 5;
const ACCESS_CHALLENGE: u8 = 11;
const STATUS_SERVER: u8 = 12;

const USER_NAME: u8 = 1;
const USER_PASSWORD: u8 = 2;
const SERVICE_TYPE: u8 = 6;
const NAS_IDENTIFIER: u8 = 32;
const NAS_PORT_TYPE: u8 = 61;
const MESSAGE_AUTHENTICATOR: u8 = 80;

const LOGIN: u32 = 1;
const VIRTUAL: u32 = 5;

const HEADER_BYTES: usize = 20;
const DIGEST_BYTES: usize = 16;
/// The most an attribute's value and a hidden password can have.
const VALUE_BYTES_MAX: usize = 253;
const PASSWORD_BYTES_MAX: usize = 128;

/// A request, and the answer that is expected.
#[derive(Clone, Copy, Debug)]
pub struct Radius<'a> {
    /// What is asked.
    pub request: Request<'a>,
    /// The secret shared with the server.
    pub secret: &'a [u8],
    /// Who asks; none if empty. RFC 2865 wants one in an Access-Request.
    pub nas_identifier: &'a str,
    /// What it must answer.
    pub expected: Expected,
    /// Take no answer without a Message-Authenticator. One that has a wrong one
    /// is never taken.
    pub require_signed: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// Whether a user may log in.
    Access {
        /// The user's name.
        user: &'a str,
        /// The password; hidden on its way, not encrypted.
        password: &'a [u8],
    },
    /// Whether the server is there; it touches no user.
    Status,
}

/// What the server must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expected {
    /// Access-Accept, or an Accounting-Response to a Status-Server.
    Accept,
    /// Access-Reject.
    Reject,
    /// Access-Challenge.
    Challenge,
    /// Any of them.
    Any,
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RadiusError {
    /// No secret.
    Secret,
    /// A name that is empty or longer than 253 bytes.
    Name,
    /// A password longer than 128 bytes.
    Password,
}

impl fmt::Display for RadiusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Secret => "the secret is empty: write the one the server has for this node",
            Self::Name => "a user has 1 to 253 bytes, an identifier 253 at most",
            Self::Password => "the password has 128 bytes at most",
        })
    }
}

impl core::error::Error for RadiusError {}

impl<'a> Radius<'a> {
    /// Whether `user` with `password` is accepted; the answer need not be
    /// signed.
    #[must_use]
    pub const fn access(secret: &'a [u8], user: &'a str, password: &'a [u8]) -> Self {
        Self {
            request: Request::Access { user, password },
            secret,
            nas_identifier: "trunnion",
            expected: Expected::Accept,
            require_signed: false,
        }
    }

    /// Whether it can be sent, for the config.
    ///
    /// # Errors
    /// [`RadiusError`]: why not.
    pub const fn check(&self) -> Result<(), RadiusError> {
        if self.secret.is_empty() {
            return Err(RadiusError::Secret);
        }
        if self.nas_identifier.len() > VALUE_BYTES_MAX {
            return Err(RadiusError::Name);
        }
        match self.request {
            Request::Access { user, .. } if user.is_empty() || user.len() > VALUE_BYTES_MAX => {
                Err(RadiusError::Name)
            }
            Request::Access { password, .. } if password.len() > PASSWORD_BYTES_MAX => {
                Err(RadiusError::Password)
            }
            Request::Access { .. } | Request::Status => Ok(()),
        }
    }

    pub(super) fn begin(&self, token: Token, out: &mut [u8]) -> Step {
        let mut w = Writer::new(out);
        let start = w.mark();
        w.u8(match self.request {
            Request::Access { .. } => ACCESS_REQUEST,
            Request::Status => STATUS_SERVER,
        });
        w.u8(identifier(token));
        let length = w.mark();
        w.u16::<NetworkEndian>(0);
        w.bytes(&token.secret);
        // First, so that no chosen prefix of attributes comes before it.
        w.bytes(&[MESSAGE_AUTHENTICATOR, 18]);
        let signature = w.mark();
        w.zeros(DIGEST_BYTES);
        if let Request::Access { user, password } = self.request {
            attribute(&mut w, USER_NAME, user.as_bytes());
            self.hide(&mut w, token, password);
            attribute(&mut w, SERVICE_TYPE, &LOGIN.to_be_bytes());
            attribute(&mut w, NAS_PORT_TYPE, &VIRTUAL.to_be_bytes());
        }
        if !self.nas_identifier.is_empty() {
            attribute(&mut w, NAS_IDENTIFIER, self.nas_identifier.as_bytes());
        }
        let Ok(bytes) = u16::try_from(w.since(start)) else {
            return NO_ROOM;
        };
        w.patch(length, &bytes.to_be_bytes());
        let signed = self.sign(&[w.written(start)]);
        w.patch(signature, &signed);
        w.finish().map_or(NO_ROOM, |sent| Step::Send(sent.len()))
    }

    /// Takes a datagram. Until an answer has shown that it knows the secret and
    /// the request, anybody may have sent it: it is passed over, and `excuse`
    /// says what a timeout means.
    pub(super) fn datagram(&self, token: Token, bytes: &[u8], excuse: &mut Reason) -> Step {
        let code = match self.authentic(token, bytes) {
            Ok(code) => code,
            Err(Some(reason)) => {
                *excuse = reason;
                return Step::More;
            }
            Err(None) => return Step::More,
        };
        let answer = match code {
            ACCESS_ACCEPT => Expected::Accept,
            ACCOUNTING_RESPONSE if matches!(self.request, Request::Status) => Expected::Accept,
            ACCESS_REJECT => Expected::Reject,
            ACCESS_CHALLENGE => Expected::Challenge,
            _ => return failure(Reason::RadiusCode),
        };
        if self.expected == Expected::Any || self.expected == answer {
            success()
        } else {
            failure(Reason::RadiusCode)
        }
    }

    /// The code of an answer that is the server's to our request; else why not,
    /// or nothing when it is an answer to another request.
    fn authentic(&self, token: Token, bytes: &[u8]) -> Result<u8, Option<Reason>> {
        let malformed = |_: Short| Some(Reason::RadiusMalformed);
        let mut r = Reader::new(bytes);
        let code = r.u8("code").map_err(malformed)?;
        if r.u8("identifier").map_err(malformed)? != identifier(token) {
            return Err(None);
        }
        let length = usize::from(r.u16::<NetworkEndian>("length").map_err(malformed)?);
        // What comes after the length is padding (RFC 2865 3).
        let packet = bytes.get(..length).ok_or(Some(Reason::RadiusMalformed))?;
        let (head, attributes) = packet
            .split_at_checked(HEADER_BYTES)
            .ok_or(Some(Reason::RadiusMalformed))?;
        let (head, authenticator) = head
            .split_at_checked(4)
            .ok_or(Some(Reason::RadiusMalformed))?;
        let expected = Md5::new()
            .chain_update(head)
            .chain_update(token.secret)
            .chain_update(attributes)
            .chain_update(self.secret)
            .finalize();
        if !same(authenticator, &expected) {
            return Err(Some(Reason::RadiusAuthenticator));
        }
        let mut r = Reader::new(attributes);
        let mut signed = false;
        while !r.is_empty() {
            let before = attributes.len().saturating_sub(r.len());
            let kind = r.u8("attribute").map_err(malformed)?;
            let len = usize::from(r.u8("attribute length").map_err(malformed)?);
            let len = len.checked_sub(2).ok_or(Some(Reason::RadiusMalformed))?;
            let value = r.bytes("attribute value", len).map_err(malformed)?;
            if kind == MESSAGE_AUTHENTICATOR {
                let start = attributes.get(..before.saturating_add(2)).unwrap_or(&[]);
                let zeros = [0; DIGEST_BYTES];
                let parts = [head, &token.secret, start, &zeros, r.peek()];
                if !same(value, &self.sign(&parts)) {
                    return Err(Some(Reason::RadiusAuthenticator));
                }
                signed = true;
            }
        }
        if self.require_signed && !signed {
            return Err(Some(Reason::RadiusUnsigned));
        }
        Ok(code)
    }

    /// HMAC-MD5 (RFC 2104) of the parts.
    fn sign(&self, parts: &[&[u8]]) -> [u8; DIGEST_BYTES] {
        // A key of any length is a key.
        let Ok(mut mac) = Hmac::<Md5>::new_from_slice(self.secret) else {
            return [0; DIGEST_BYTES];
        };
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Writes the password as RFC 2865 5.2 hides it.
    fn hide(&self, w: &mut Writer<'_>, token: Token, password: &[u8]) {
        let password = password.get(..PASSWORD_BYTES_MAX).unwrap_or(password);
        let blocks = password.len().div_ceil(DIGEST_BYTES).max(1);
        let value = blocks.saturating_mul(DIGEST_BYTES).saturating_add(2);
        w.u8(USER_PASSWORD);
        w.u8(u8::try_from(value).unwrap_or(u8::MAX));
        let mut last = token.secret;
        let mut rest = password;
        for _ in 0..blocks {
            let (block, after) = rest.split_at_checked(DIGEST_BYTES).unwrap_or((rest, &[]));
            rest = after;
            let pad = Md5::new().chain_update(self.secret).chain_update(last);
            last = pad.finalize().into();
            for (byte, own) in last.iter_mut().zip(block) {
                *byte ^= own;
            }
            w.bytes(&last);
        }
    }
}

/// Whether two digests are equal, looked at to the end: how far they are alike
/// is told to nobody, neither by the clock nor to a fuzzer that watches
/// comparisons.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |seen, (a, b)| seen | (a ^ b));
    a.len() == b.len() && differing == 0
}

/// One byte of it is on the wire.
const fn identifier(token: Token) -> u8 {
    let [_, low] = token.id.to_be_bytes();
    low
}

fn attribute(w: &mut Writer<'_>, kind: u8, value: &[u8]) {
    let value = value.get(..VALUE_BYTES_MAX).unwrap_or(value);
    let length = value.len().saturating_add(2);
    w.u8(kind);
    w.u8(u8::try_from(length).unwrap_or(u8::MAX));
    w.bytes(value);
}

#[cfg(test)]
mod tests;
