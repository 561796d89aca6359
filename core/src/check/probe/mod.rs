//! Probes: what a check says to its target, and what it makes of the answer.
//! Not sockets, not times and not rise and fall: bytes come in as they were
//! read, bytes go out into the owner's buffer, and in the end there is a
//! [`Verdict`].
//!
//! ```text
//! connected, or nothing to connect -> Probe::begin --+
//! readable                  -> Probe::handle_bytes --+-> Step::More      read on
//! all bytes of Send written -> Probe::handle_sent  --+-> Step::Send(n)   write room.out[..n], then read
//! end of the stream         -> Probe::handle_end   --+-> Step::OverTcp   begin again on a stream
//!                                                    +-> Step::Verdict   the engine concludes
//! timeout                   -> Probe::handle_timeout --> the reason it failed for
//! ```
//!
//! How it meets the [engine](super::engine). A check names a [`Script`], and
//! all scripts of a plan lie in one piece of memory ([`Scripts`]). A [`Spec`]
//! borrows from there, so it is put together for each call and costs nothing to
//! keep. A [`Probe`] is small and `Copy`; it belongs to a probe in flight, so it
//! lives with the socket ([`Socket`](super::Socket)) rather than with the check:
//! there are as many as there are sockets, not as many as there are checks.
//! Deadlines are the engine's. TLS is between the socket and the probe, which
//! sees plain bytes.
//!
//! Laws, for any bytes ([`laws`]): the verdict does not depend on how a stream
//! was cut into reads; never more is written than the buffer holds; the work for
//! each byte is bounded; nothing panics. Bytes after the verdict change nothing
//! of it.

pub mod agent;
pub mod dns;
mod expect;
pub mod grpc;
pub mod http;
mod keep;
pub mod laws;
pub mod outside;
mod pattern;
mod ping;
pub mod radius;
pub mod regex;
mod script;
mod syn;

pub use agent::{Admin, Advice, Agent};
pub use dns::Dns;
pub use expect::Expect;
pub use grpc::Grpc;
pub use http::{HeaderMatch, Http};
pub use pattern::{Found, NEEDLE_BYTES_MAX, Pattern, Scan};
pub use ping::Ping;
pub use radius::Radius;
pub use regex::{Regex, RegexError, RegexFault};
pub use script::{SCRIPT_WORDS_MAX, Script, ScriptId, Scripts, TlsId};
pub use syn::Syn;

use super::{Local, Reason, Verdict};
use keep::Kept;

/// What is probed, and what is expected. Strings are the owner's.
#[derive(Clone, Copy, Debug)]
pub enum Spec<'a> {
    /// A TCP stream: bytes to send, bytes to expect.
    Stream(Expect<'a>),
    /// A UDP datagram each way.
    Datagram(Expect<'a>),
    /// HTTP/1.1.
    Http(&'a Http<'a>),
    /// DNS, over UDP or TCP.
    Dns(&'a Dns<'a>),
    /// ICMP echo.
    Ping(Ping),
    /// The SYN of a TCP connection.
    Syn(Syn),
    /// HAProxy's agent check.
    Agent(Agent<'a>),
    /// RADIUS.
    Radius(&'a Radius<'a>),
    /// gRPC health checking.
    Grpc(Grpc<'a>),
    /// A command or a file: nothing for a [`Probe`] to say or hear.
    Errand(outside::Errand<'a>),
}

/// What a probe runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A TCP connection: reads may cut the bytes anywhere.
    Stream,
    /// Each call of [`Probe::handle_bytes`] has exactly one datagram; an empty
    /// one is one.
    Datagram,
    /// None: somebody else asks.
    Errand,
}

impl Spec<'_> {
    /// What it runs on.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        match self {
            Self::Stream(_) | Self::Http(_) | Self::Agent(_) | Self::Grpc(_) => Transport::Stream,
            Self::Datagram(_) | Self::Ping(_) | Self::Syn(_) | Self::Radius(_) => {
                Transport::Datagram
            }
            Self::Dns(dns) => dns.transport,
            Self::Errand(_) => Transport::Errand,
        }
    }

    /// Bytes of [`Room::keep`] the probe needs; 0 for most.
    #[must_use]
    pub const fn keep_bytes(&self) -> usize {
        match self {
            Self::Stream(_)
            | Self::Datagram(_)
            | Self::Http(_)
            | Self::Ping(_)
            | Self::Syn(_)
            | Self::Agent(_)
            | Self::Radius(_)
            | Self::Errand(_) => 0,
            Self::Dns(dns) => dns.keep_bytes(),
            Self::Grpc(_) => Grpc::KEEP_BYTES,
        }
    }
}

/// The most [`Spec::keep_bytes`] is.
pub const SPEC_KEEP_BYTES_MAX: usize = Grpc::KEEP_BYTES;
const _: () = assert!(Dns::KEEP_BYTES <= SPEC_KEEP_BYTES_MAX);

/// What makes an answer the answer to this probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Tells probes apart that are in flight to one target from one port: the
    /// id of a DNS query, the identifier of a RADIUS request (its low byte), the
    /// sequence number of an echo request.
    pub id: u16,
    /// Bytes that nobody can guess, new for each probe.
    pub secret: [u8; 16],
}

/// Memory a probe may use during a call.
#[derive(Debug)]
pub struct Room<'a> {
    /// Where bytes to send are put. At least [`Room::OUT_BYTES`] after the first
    /// call, which needs room for the whole request.
    pub out: &'a mut [u8],
    /// What the probe keeps from call to call: the same bytes in each,
    /// [`Spec::keep_bytes`] of them.
    pub keep: &'a mut [u8],
}

impl Room<'_> {
    /// Bytes of [`Room::out`] that suffice after the first call.
    pub const OUT_BYTES: usize = 128;
}

/// What the owner does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Read on.
    More,
    /// Send so many bytes from the start of [`Room::out`], then tell
    /// [`Probe::handle_sent`], and read on.
    Send(usize),
    /// The answer is too long for a datagram: begin the same probe on a stream.
    OverTcp,
    /// It is over.
    Verdict(Verdict),
}

/// A probe in flight.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    token: Token,
    state: State,
    verdict: Option<Verdict>,
    /// Why a timeout is not just one.
    excuse: Reason,
}

/// What each kind of probe remembers between calls.
#[derive(Clone, Copy, Debug)]
enum State {
    /// One datagram decides.
    Nothing,
    Stream(expect::Progress),
    Http(http::Response),
    Agent(agent::Line),
    Grpc(grpc::Client),
    Kept(Kept),
}

impl Probe {
    /// Begins a probe on a socket that is connected, if its transport connects.
    pub fn begin(spec: &Spec<'_>, token: Token, room: &mut Room<'_>) -> (Self, Step) {
        let (state, step) = match spec {
            Spec::Stream(expect) => {
                let (progress, step) = expect.begin_stream(room.out);
                (State::Stream(progress), step)
            }
            Spec::Datagram(expect) => (State::Nothing, expect.begin_datagram(room.out)),
            Spec::Http(http) => {
                let (response, step) = http.begin(room.out);
                (State::Http(response), step)
            }
            Spec::Ping(ping) => (State::Nothing, ping.begin(token, room.out)),
            Spec::Syn(syn) => (State::Nothing, syn.begin(token, room.out)),
            Spec::Radius(radius) => (State::Nothing, radius.begin(token, room.out)),
            Spec::Grpc(grpc) => {
                let (client, step) = grpc.begin(room.out);
                (State::Grpc(client), step)
            }
            Spec::Agent(agent) => {
                let (line, step) = agent.begin(room.out);
                (State::Agent(line), step)
            }
            Spec::Dns(dns) => (State::Kept(Kept::NONE), dns.begin(token, room.out)),
            Spec::Errand(_) => (State::Nothing, Step::More),
        };
        let kept = room.keep.len() >= spec.keep_bytes();
        let step = if kept { step } else { NO_ROOM };
        let mut probe = Self {
            token,
            state,
            verdict: None,
            excuse: Reason::TimedOut,
        };
        (probe, probe.note(step))
    }

    /// Takes bytes of a stream, or one datagram.
    pub fn handle_bytes(&mut self, spec: &Spec<'_>, bytes: &[u8], room: &mut Room<'_>) -> Step {
        if let (Some(_), None) = (self.verdict, self.http()) {
            return self.note(Step::More);
        }
        let (token, excuse) = (self.token, &mut self.excuse);
        let step = match (spec, &mut self.state) {
            (Spec::Stream(expect), State::Stream(progress)) => expect.stream(progress, bytes),
            (Spec::Datagram(expect), _) => expect.datagram(bytes),
            (Spec::Ping(ping), _) => ping.datagram(token, bytes, excuse),
            (Spec::Syn(_), _) => Syn::datagram(token, bytes),
            (Spec::Radius(radius), _) => radius.datagram(token, bytes, excuse),
            (Spec::Agent(_), State::Agent(line)) => line.feed(bytes),
            (Spec::Grpc(_), State::Grpc(client)) => client.feed(bytes, room),
            (Spec::Http(http), State::Http(response)) => {
                let verdict = response.feed(http, bytes);
                verdict.map_or(Step::More, Step::Verdict)
            }
            (Spec::Dns(dns), State::Kept(kept)) => match dns.transport {
                Transport::Stream => dns.stream(token, kept, bytes, room),
                Transport::Datagram => dns.datagram(token, bytes, excuse),
                Transport::Errand => OTHER_SPEC,
            },
            (
                Spec::Stream(_)
                | Spec::Http(_)
                | Spec::Dns(_)
                | Spec::Agent(_)
                | Spec::Grpc(_)
                | Spec::Errand(_),
                _,
            ) => OTHER_SPEC,
        };
        self.note(step)
    }

    /// All bytes of the last [`Step::Send`] are written.
    pub fn handle_sent(&mut self, spec: &Spec<'_>) -> Step {
        let step = match spec {
            Spec::Stream(expect) => expect.sent(),
            Spec::Datagram(_)
            | Spec::Http(_)
            | Spec::Dns(_)
            | Spec::Ping(_)
            | Spec::Syn(_)
            | Spec::Agent(_)
            | Spec::Radius(_)
            | Spec::Grpc(_)
            | Spec::Errand(_) => Step::More,
        };
        self.note(step)
    }

    /// The target ended the stream. It is always a verdict.
    pub fn handle_end(&mut self, spec: &Spec<'_>) -> Step {
        let step = match (spec, &mut self.state) {
            (Spec::Stream(expect), State::Stream(progress)) => expect.end(progress),
            (Spec::Http(http), State::Http(response)) => Step::Verdict(response.end(http)),
            (Spec::Stream(_) | Spec::Http(_), _) => OTHER_SPEC,
            (
                Spec::Datagram(_)
                | Spec::Dns(_)
                | Spec::Ping(_)
                | Spec::Syn(_)
                | Spec::Agent(_)
                | Spec::Radius(_)
                | Spec::Grpc(_)
                | Spec::Errand(_),
                _,
            ) => failure(Reason::Closed),
        };
        self.note(step)
    }

    /// What it means that the time is over: that nothing came, or that
    /// something came but not the answer.
    #[must_use]
    pub const fn handle_timeout(&self) -> Reason {
        self.excuse
    }

    /// The token it began with.
    #[must_use]
    pub const fn token(&self) -> Token {
        self.token
    }

    /// The status code of an HTTP response, once it is there.
    #[must_use]
    pub const fn http_status(&self) -> Option<u16> {
        match self.http() {
            Some(response) => response.status(),
            None => None,
        }
    }

    /// The verdict that is there already while the rest of an answer is read for the
    /// connection alone. However that ends, it holds.
    #[must_use]
    pub const fn decided(&self) -> Option<Verdict> {
        match self.http() {
            Some(response) => response.decided(),
            None => None,
        }
    }

    /// Whether the connection can carry the same check again. An answer may be
    /// longer than its verdict needs: it is read on until this is so.
    #[must_use]
    pub fn is_reusable(&self, spec: &Spec<'_>) -> bool {
        match spec {
            Spec::Http(http) => self.http().is_some_and(|response| response.reusable(http)),
            Spec::Stream(_)
            | Spec::Datagram(_)
            | Spec::Dns(_)
            | Spec::Ping(_)
            | Spec::Syn(_)
            | Spec::Agent(_)
            | Spec::Radius(_)
            | Spec::Grpc(_)
            | Spec::Errand(_) => false,
        }
    }

    /// What an agent says, once its line is read to the end: what came of one that
    /// broke off may have gone on to say the contrary.
    #[must_use]
    pub const fn advice(&self) -> Option<Advice> {
        let read = matches!(
            self.verdict,
            Some(Verdict::Success | Verdict::Failure(Reason::AgentDown))
        );
        match &self.state {
            State::Agent(line) if read => Some(line.advice()),
            State::Nothing
            | State::Agent(_)
            | State::Stream(_)
            | State::Http(_)
            | State::Kept(_)
            | State::Grpc(_) => None,
        }
    }

    const fn http(&self) -> Option<&http::Response> {
        match &self.state {
            State::Http(response) => Some(response),
            State::Nothing
            | State::Stream(_)
            | State::Agent(_)
            | State::Kept(_)
            | State::Grpc(_) => None,
        }
    }

    /// The first verdict stays.
    const fn note(&mut self, step: Step) -> Step {
        match (self.verdict, step) {
            (Some(verdict), _) => Step::Verdict(verdict),
            (None, Step::Verdict(verdict)) => {
                self.verdict = Some(verdict);
                step
            }
            (None, Step::More | Step::Send(_) | Step::OverTcp) => step,
        }
    }
}

/// A request that does not fit the buffer it was to be written to: ours, not the
/// target's.
const NO_ROOM: Step = Step::Verdict(Verdict::Indeterminate(Local::Room));

/// A probe goes on with another spec than it began with: a bug of the owner, and
/// nothing about the target.
const OTHER_SPEC: Step = Step::Verdict(Verdict::Indeterminate(Local::Other));

const fn success() -> Step {
    Step::Verdict(Verdict::Success)
}

const fn failure(reason: Reason) -> Step {
    Step::Verdict(Verdict::Failure(reason))
}

// There is one for each socket.
const _: () = assert!(size_of::<Probe>() <= 192);
