//! TLS below a check: rustls over a socket of the pool. Not the probe, which
//! sees plain bytes, and not when a handshake is made or given up; that is the
//! engine's.
//!
//! It is the one thing on the loop's thread that allocates, and it does so
//! behind a door: every call into it goes through [`alloc::exempt`], which
//! counts what is taken there apart from what the loop takes, so that the
//! loop's own count stays 0 and means something.

mod anyone;

use crate::config::OwnedTls;
use anyone::Anyone;
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use trunnion_core::check::probe::TlsId;
use trunnion_core::check::{Certificate, Local, Reason, SocketId, Verdict};
use trunnion_core::netlink::Errno;
use trunnion_sys::alloc;
use trunnion_sys::memory::Mapped;
use trunnion_sys::tcp::{Heard, Pool, Said};

/// Where systems keep the authorities they trust, the first that is there.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// A way of speaking TLS, ready for any number of connections.
#[derive(Clone, Debug)]
pub struct Profile {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl Profile {
    /// Whether what `tls` names can be used, as far as it names files of its
    /// own: the system's list is not read for it.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn check(tls: &OwnedTls) -> Result<(), String> {
        if tls.ca.is_some() || !tls.verify {
            return Self::load(tls).map(|_| ());
        }
        let without = OwnedTls {
            verify: false,
            ..tls.clone()
        };
        Self::load(&without).map(|_| ())
    }

    /// Reads the files that `tls` names.
    ///
    /// # Errors
    /// In words: which file cannot be used, and why.
    pub fn load(tls: &OwnedTls) -> Result<Self, String> {
        Self::of(tls, Arc::new(Self::config(tls)?))
    }

    /// The same of many, sorted by their ids, where those that differ in nothing but
    /// the name share what was read: a list of authorities takes 100 KB. One that
    /// cannot be used is left out.
    #[must_use]
    pub fn load_all(all: &BTreeMap<TlsId, &OwnedTls>) -> Vec<(TlsId, Self)> {
        let mut read = BTreeMap::new();
        let load = |(id, tls): (&TlsId, &&OwnedTls)| {
            let nameless = OwnedTls {
                name: None,
                ..(*tls).clone()
            };
            let config = read
                .entry(nameless.id())
                .or_insert_with(|| Self::config(tls).ok().map(Arc::new));
            let profile = Self::of(tls, Arc::clone(config.as_ref()?));
            Some((*id, profile.ok()?))
        };
        all.iter().filter_map(load).collect()
    }

    fn of(tls: &OwnedTls, config: Arc<ClientConfig>) -> Result<Self, String> {
        let name = match &tls.name {
            None => None,
            Some(name) => {
                let parsed = ServerName::try_from(name.clone());
                Some(parsed.map_err(|_| format!("{name} is neither a name nor an address"))?)
            }
        };
        Ok(Self { config, name })
    }

    fn config(tls: &OwnedTls) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if tls.verify {
            let roots = Arc::new(roots(tls.ca.as_deref())?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider);
            let verifier = verifier.build().map_err(|error| error.to_string())?;
            builder.with_webpki_verifier(verifier)
        } else {
            let anyone = Arc::new(Anyone(provider));
            builder.dangerous().with_custom_certificate_verifier(anyone)
        };
        let mut config = match &tls.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                let own = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| format!("{}: {error}", key.display()))?;
                builder
                    .with_client_auth_cert(chain, own)
                    .map_err(|error| format!("{}: {error}", key.display()))?
            }
        };
        config.alpn_protocols = tls.alpn.iter().map(|p| p.clone().into_bytes()).collect();
        // Each check makes a whole handshake: that is what it is for.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let path = match ca {
        Some(path) => path,
        None => SYSTEM_ROOTS
            .iter()
            .map(Path::new)
            .find(|path| path.exists())
            .ok_or("this system has no list of authorities: name one by `ca`")?,
    };
    let mut roots = RootCertStore::empty();
    // Of a system's list some may be odd; of one that is named all must do.
    for certificate in certificates(path)? {
        if let (Err(error), Some(_)) = (roots.add(certificate), ca) {
            return Err(format!("{}: {error}", path.display()));
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(format!("{}: no certificate in it", path.display())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// What came of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// So many plain bytes, in [`Sessions::plain`].
    Plain(usize),
    /// The handshake is done.
    Secured,
    /// Something that is not for the probe; there may be more.
    More,
    /// Nothing more for now.
    Nothing,
    /// The other side has ended its stream.
    End,
    /// The connection is broken.
    Broken(Errno),
    /// The other side does not speak TLS as it should, or we cannot.
    Bad(Verdict),
}

/// The open TLS connections, by their sockets.
pub struct Sessions {
    profiles: Vec<(TlsId, Profile)>,
    open: Box<[Option<Box<ClientConnection>>]>,
    /// Plain bytes of each that rustls has taken and the kernel has not, all of
    /// them.
    unsaid: Mapped<usize>,
    plain: Mapped<u8>,
}

const PLAIN_BYTES: usize = 16 << 10;

impl Sessions {
    /// None, with room for one on each socket of a pool.
    #[must_use]
    pub fn new(sockets: usize) -> Self {
        Self {
            profiles: Vec::new(),
            open: (0..sockets).map(|_| None).collect(),
            unsaid: Mapped::new(sockets),
            plain: Mapped::new(PLAIN_BYTES),
        }
    }

    /// Exchanges the profiles for those of another plan, sorted by their ids.
    pub fn swap_profiles(&mut self, profiles: &mut Vec<(TlsId, Profile)>) {
        std::mem::swap(&mut self.profiles, profiles);
    }

    /// Whether TLS is spoken on a socket.
    #[must_use]
    pub fn is_open(&self, id: SocketId) -> bool {
        self.open.get(id.index()).is_some_and(Option::is_some)
    }

    /// The plain bytes that came last.
    #[must_use]
    pub fn plain(&self, len: usize) -> &[u8] {
        &self.plain[..len]
    }

    /// Begins a handshake.
    ///
    /// # Errors
    /// The verdict it ends with at once.
    pub fn begin(
        &mut self,
        pool: &mut Pool,
        id: SocketId,
        target: SocketAddr,
        tls: TlsId,
    ) -> Result<(), Verdict> {
        let ours = Verdict::Indeterminate(Local::Tls);
        let found = self.profiles.binary_search_by_key(&tls, |(id, _)| *id);
        let profile = found.ok().and_then(|at| self.profiles.get(at));
        let (_, profile) = profile.ok_or(ours)?;
        let place = self.open.get_mut(id.index()).ok_or(ours)?;
        self.unsaid[id.index()] = 0;
        alloc::exempt(|| {
            let name = match &profile.name {
                Some(name) => name.clone(),
                None => ServerName::IpAddress(target.ip().into()),
            };
            let connection = ClientConnection::new(Arc::clone(&profile.config), name);
            *place = Some(Box::new(connection.map_err(|_| ours)?));
            Ok(())
        })?;
        let flushed = self.flush(pool, id);
        flushed.map_err(|errno| Verdict::of_talk(errno, Reason::TlsReset))
    }

    /// Writes what waits to be written, as much as the kernel takes.
    ///
    /// # Errors
    /// The connection's.
    pub fn flush(&mut self, pool: &mut Pool, id: SocketId) -> Result<(), Errno> {
        let Some(session) = self.open.get_mut(id.index()).and_then(Option::as_mut) else {
            return Ok(());
        };
        alloc::exempt(|| flush(session, pool, id))
    }

    /// Says plain bytes; how many of them the kernel has: all, or none for as long
    /// as it has no room. Then they are to be said again, the same, when it may have
    /// some.
    ///
    /// # Errors
    /// The connection's.
    pub fn say(&mut self, pool: &mut Pool, id: SocketId, bytes: &[u8]) -> Result<usize, Errno> {
        let Some(session) = self.open.get_mut(id.index()).and_then(Option::as_mut) else {
            return Ok(bytes.len());
        };
        let unsaid = &mut self.unsaid[id.index()];
        alloc::exempt(|| {
            let connection = &mut **session;
            if *unsaid == 0 {
                let taken = connection.writer().write_all(bytes);
                taken.map_err(|_| ENOBUFS)?;
                *unsaid = bytes.len();
            }
            flush(connection, pool, id)?;
            Ok(match connection.wants_write() {
                true => 0,
                false => std::mem::take(unsaid),
            })
        })
    }

    /// Reads once.
    pub fn read(&mut self, pool: &mut Pool, id: SocketId) -> Came {
        let Self { open, plain, .. } = self;
        match open.get_mut(id.index()).and_then(Option::as_mut) {
            Some(session) => alloc::exempt(|| read(session, pool, id, plain)),
            None => Came::Nothing,
        }
    }

    /// The certificate that the other side has shown, after the handshake; what is
    /// good for less than `warning_s` is so soon.
    #[must_use]
    pub fn certificate(&self, id: SocketId, warning_s: u64) -> Option<Certificate> {
        let session = self.open.get(id.index())?.as_ref()?;
        let shown = session.peer_certificates()?.first()?;
        let expires = alloc::exempt(|| expires(shown))?;
        let now = UnixTime::now().as_secs();
        Some(Certificate::shown(expires.as_secs(), now, warning_s))
    }

    /// Ends a connection, if there is one.
    pub fn end(&mut self, id: SocketId) {
        if let Some(place) = self.open.get_mut(id.index())
            && place.is_some()
        {
            alloc::exempt(|| drop(place.take()));
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("open", &self.open.iter().flatten().count())
            .finish_non_exhaustive()
    }
}

/// When a certificate expires: what the library complains of when asked whether it
/// would trust it at the end of time. Its dates are the first thing it looks at.
fn expires(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    const NEVER: Duration = Duration::from_secs(u64::MAX);
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let nobody = RootCertStore::empty();
    let then = UnixTime::since_unix_epoch(NEVER);
    let all = ring::default_provider()
        .signature_verification_algorithms
        .all;
    match verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], then, all) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(not_after)
        }
        Ok(()) | Err(_) => None,
    }
}

/// errno(3): our own buffers were full.
const ENOBUFS: Errno = Errno(105);

fn flush(session: &mut ClientConnection, pool: &mut Pool, id: SocketId) -> Result<(), Errno> {
    while session.wants_write() {
        match session.write_tls(&mut Out(pool, id)) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(Errno(error.raw_os_error().unwrap_or(ENOBUFS.0))),
        }
    }
    Ok(())
}

fn read(session: &mut ClientConnection, pool: &mut Pool, id: SocketId, plain: &mut [u8]) -> Came {
    let shaking = session.is_handshaking();
    // What lies here already comes first: rustls hears nothing while it is full
    // of that.
    if let Some(came) = plaintext(session, plain).filter(|_| !shaking) {
        return came;
    }
    // Once, into its own buffer: it takes as much as it has room for, and after
    // the other side's last word nothing.
    match session.read_tls(&mut In(pool, id)) {
        Ok(0) => return Came::End,
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Came::Nothing,
        Err(error) => {
            return match error.raw_os_error() {
                Some(errno) => Came::Broken(Errno(errno)),
                None => Came::Bad(Verdict::Failure(Reason::TlsMalformed)),
            };
        }
    }
    if let Err(error) = session.process_new_packets() {
        // It is told why, if it still listens.
        let _ = flush(session, pool, id);
        return Came::Bad(verdict(&error));
    }
    if let Err(errno) = flush(session, pool, id) {
        return Came::Broken(errno);
    }
    if shaking {
        return if session.is_handshaking() {
            Came::More
        } else {
            Came::Secured
        };
    }
    plaintext(session, plain).unwrap_or(Came::More)
}

/// Plain bytes that lie here, or the end of them.
fn plaintext(session: &mut ClientConnection, plain: &mut [u8]) -> Option<Came> {
    match session.reader().read(plain) {
        Ok(0) => Some(Came::End),
        Ok(len) => Some(Came::Plain(len)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(_) => Some(Came::End),
    }
}

/// Why a handshake, or what came after it, is not as it should be.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "theirs, and it grows: what has no name of its own is malformed"
)]
fn verdict(error: &Error) -> Verdict {
    Verdict::Failure(match error {
        Error::FailedToGetCurrentTime
        | Error::FailedToGetRandomBytes
        | Error::EncryptError
        | Error::InconsistentKeys(_)
        | Error::General(_) => return Verdict::Indeterminate(Local::Tls),
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Reason::TlsExpired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Reason::TlsNotYet
            }
            CertificateError::UnknownIssuer => Reason::TlsUnknownCa,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Reason::TlsName
            }
            _ => Reason::TlsCertificate,
        },
        Error::AlertReceived(_) | Error::PeerIncompatible(_) | Error::NoApplicationProtocol => {
            Reason::TlsRefused
        }
        _ => Reason::TlsMalformed,
    })
}

/// A socket to read from.
struct In<'p>(&'p mut Pool, SocketId);

impl Read for In<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(self.1, into) {
            Heard::Bytes(len) => Ok(len),
            Heard::Nothing => Err(io::ErrorKind::WouldBlock.into()),
            Heard::End => Ok(0),
            Heard::Failed(Errno(errno)) => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// A socket to write to.
struct Out<'p>(&'p mut Pool, SocketId);

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(self.1, bytes) {
            Said::Bytes(0) => Err(io::ErrorKind::WouldBlock.into()),
            Said::Bytes(len) => Ok(len),
            Said::Failed(Errno(errno)) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
