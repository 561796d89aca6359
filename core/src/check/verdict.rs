//! What a check found out, and the total map from an errno to it.

use crate::netlink::Errno;
use core::fmt;

/// What a check found out about its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It serves.
    Success,
    /// It does not, or nothing gets there.
    Failure(Reason),
    /// Nothing: this node could not look.
    Indeterminate(Local),
}

/// Declares an enum of reasons with their words, their index and all of them.
macro_rules! reasons {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($(#[$item:meta])* $variant:ident = $words:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$item])* $variant,)*
        }

        impl $name {
            /// All of them, each at its [`index`](Self::index).
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Its place in a table of counters.
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }

            /// In words.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self {
                    $(Self::$variant => $words,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.words())
            }
        }
    };
}

reasons! {
    /// Why a check failed.
    Reason {
        /// Nobody listens: RST, or ICMP port unreachable.
        Refused = "refused",
        /// No answer in time.
        TimedOut = "timed out",
        /// The connection was reset before it counted.
        Reset = "reset",
        /// Connected, the target did not take the request in time.
        Unsent = "request not taken in time",
        /// Connected and asked, the target said nothing in time.
        NoAnswer = "no answer in time",
        /// The target began to answer and was not done in time.
        Unfinished = "answer not whole in time",
        /// The connection was reset while the request was sent.
        ResetSending = "reset while the request was sent",
        /// The connection was reset before the first byte of the answer.
        ResetWaiting = "reset before the answer",
        /// The connection was reset within the answer.
        ResetAnswering = "reset within the answer",
        /// No route to the host, or its neighbour does not answer.
        HostUnreachable = "host unreachable",
        /// No route to the network, or the interface to it is down.
        NetUnreachable = "net unreachable",
        /// The route to it is a blackhole (`ip route add blackhole`).
        Blackhole = "blackhole route",
        /// The route to it or a router on the way prohibits it.
        Prohibited = "prohibited",
        /// Another ICMP error came back.
        Icmp = "icmp error",
        /// Connected, the target did not finish the TLS handshake in time.
        TlsTimedOut = "no tls handshake in time",
        /// The connection was reset in the TLS handshake.
        TlsReset = "reset in the tls handshake",
        /// The target ended the connection in the TLS handshake.
        TlsClosed = "closed in the tls handshake",
        /// What came is no TLS.
        TlsMalformed = "not a tls answer",
        /// The target refuses the handshake, or speaks no version or cipher that
        /// is known here.
        TlsRefused = "tls refused by the target",
        /// The chain leads to no authority that is trusted.
        TlsUnknownCa = "certificate of an unknown authority",
        /// The certificate is not for the name that was asked for.
        TlsName = "certificate for another name",
        /// The certificate is no longer valid.
        TlsExpired = "certificate expired",
        /// The certificate is not valid yet.
        TlsNotYet = "certificate not valid yet",
        /// Another thing is wrong with the certificate.
        TlsCertificate = "certificate not accepted",
        /// The target ended the connection before its answer was whole.
        Closed = "closed before the answer was whole",
        /// The answer is not what is expected.
        Mismatch = "answer is not what is expected",
        /// What came is no HTTP/1 response.
        HttpMalformed = "not an http response",
        /// The head of the response is longer than the check reads.
        HttpHeadTooLong = "http response head too long",
        /// The status code is not an expected one.
        HttpStatus = "http status is not expected",
        /// The response is a redirect, which is not expected and not followed.
        HttpRedirect = "http redirect",
        /// An expected header is not there, or not as expected.
        HttpHeader = "http header is not as expected",
        /// The content is not as expected.
        HttpBody = "http content is not as expected",
        /// As far as the check reads, the content has not what is expected.
        HttpBodyTooLong = "http content too long to find what is expected",
        /// What came is no DNS message.
        DnsMalformed = "not a dns answer",
        /// The only answers were to other questions, or nobody's.
        DnsStranger = "dns answer to another question",
        /// The response code is not the expected one.
        DnsRcode = "dns response code is not expected",
        /// No record of the type asked for is in the answer.
        DnsNoRecord = "no such dns record",
        /// There are such records, but none is as expected.
        DnsAnswer = "dns record is not as expected",
        /// The answer is longer than the check reads.
        DnsTooLong = "dns answer too long",
        /// What came is no HTTP/2.
        Http2Malformed = "not an http/2 answer",
        /// More frames or longer ones than a call's answer has.
        Http2TooLong = "http/2 answer too long",
        /// The server reset the call or says goodbye.
        Http2Refused = "http/2 call refused",
        /// The answer is not one of gRPC's health service.
        GrpcMalformed = "not a grpc health answer",
        /// The call failed: no such service, or the server has no health service.
        GrpcStatus = "grpc call failed",
        /// The service says it is not serving.
        GrpcNotServing = "grpc service is not serving",
        /// The agent says the target is down.
        AgentDown = "agent says down",
        /// The agent says no word that is known.
        AgentMalformed = "agent says nothing known",
        /// The only answers were no RADIUS packets.
        RadiusMalformed = "not a radius answer",
        /// The only answers do not know the secret: it differs, or they are
        /// forged.
        RadiusAuthenticator = "radius secret differs",
        /// The only answers have no Message-Authenticator.
        RadiusUnsigned = "radius answer without message-authenticator",
        /// Accept, reject or challenge, but not the expected one.
        RadiusCode = "radius answer is not expected",
        /// The command ended with a status that means failure.
        ExecStatus = "command failed",
        /// A signal ended the command.
        ExecSignal = "command killed",
        /// The file is not there.
        FileMissing = "file is not there",
        /// The file has no weight in it.
        FileMalformed = "file has no weight in it",
    }
}

/// Whose doing a failure is: where to look first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blame {
    /// The way to the target.
    Way,
    /// The target's host, or nobody serving there.
    Target,
    /// Whoever answers speaks something else, or does not know our secret: the
    /// service, or how this check is written.
    Protocol,
    /// The service answers, and is not well.
    Service,
}

impl Reason {
    /// Whose doing it is.
    #[must_use]
    pub const fn blame(self) -> Blame {
        match self {
            Self::HostUnreachable
            | Self::NetUnreachable
            | Self::Blackhole
            | Self::Prohibited
            | Self::Icmp => Blame::Way,
            Self::Refused
            | Self::TimedOut
            | Self::Reset
            | Self::Unsent
            | Self::NoAnswer
            | Self::Unfinished
            | Self::ResetSending
            | Self::ResetWaiting
            | Self::ResetAnswering
            | Self::TlsTimedOut
            | Self::TlsReset
            | Self::TlsClosed
            | Self::Closed => Blame::Target,
            Self::TlsMalformed
            | Self::TlsRefused
            | Self::TlsUnknownCa
            | Self::TlsName
            | Self::TlsExpired
            | Self::TlsNotYet
            | Self::TlsCertificate
            | Self::HttpMalformed
            | Self::HttpHeadTooLong
            | Self::DnsMalformed
            | Self::DnsStranger
            | Self::DnsTooLong
            | Self::Http2Malformed
            | Self::Http2TooLong
            | Self::Http2Refused
            | Self::GrpcMalformed
            | Self::AgentMalformed
            | Self::RadiusMalformed
            | Self::RadiusAuthenticator
            | Self::RadiusUnsigned
            | Self::FileMalformed => Blame::Protocol,
            Self::Mismatch
            | Self::HttpStatus
            | Self::HttpRedirect
            | Self::HttpHeader
            | Self::HttpBody
            | Self::HttpBodyTooLong
            | Self::DnsRcode
            | Self::DnsNoRecord
            | Self::DnsAnswer
            | Self::GrpcStatus
            | Self::GrpcNotServing
            | Self::AgentDown
            | Self::RadiusCode
            | Self::ExecStatus
            | Self::ExecSignal
            | Self::FileMissing => Blame::Service,
        }
    }
}

reasons! {
    /// What kept this node from looking.
    Local {
        /// Out of file descriptors (`EMFILE`, `ENFILE`).
        Files = "out of file descriptors",
        /// Out of memory or socket buffers (`ENOMEM`, `ENOBUFS`).
        Memory = "out of memory",
        /// Out of local ports, or no local address of that family
        /// (`EADDRNOTAVAIL`, `EADDRINUSE`, `EAGAIN`).
        Ports = "out of local ports or addresses",
        /// This node's own policy forbids it (`EPERM`: a firewall, a cgroup).
        Denied = "denied on this node",
        /// The timer was served late: the answer may lie unread.
        Late = "timer served late",
        /// More probes at once that gather their answer than there is memory for.
        Desks = "too many answers gathered at once",
        /// More TLS connections at once than `limits.tls`, or TLS that was not
        /// set up.
        Tls = "out of tls connections",
        /// The probe's request does not fit the buffer for it.
        Room = "request does not fit its buffer",
        /// Nobody said what came of a command or a file.
        Runner = "runner did not answer",
        /// There was no free socket to ask again by TCP.
        Sockets = "out of sockets for checks",
        /// A command is not there, or cannot be executed.
        Command = "command cannot be run",
        /// A connection that stayed from an earlier check is dead, silently.
        Kept = "kept connection did not answer",
        /// Nobody has said yet which address the target's name has.
        Name = "name of the target not resolved yet",
        /// An error that says nothing about the target.
        Other = "other local error",
    }
}

// errno(3), asm-generic numbers.
const EPERM: i32 = 1;
const EPIPE: i32 = 32;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENONET: i32 = 64;
const EPROTO: i32 = 71;
const EMSGSIZE: i32 = 90;
const ENOPROTOOPT: i32 = 92;
const EOPNOTSUPP: i32 = 95;
const EADDRINUSE: i32 = 98;
const EADDRNOTAVAIL: i32 = 99;
const ENETDOWN: i32 = 100;
const ENETUNREACH: i32 = 101;
const ECONNABORTED: i32 = 103;
const ECONNRESET: i32 = 104;
const ENOBUFS: i32 = 105;
const ETIMEDOUT: i32 = 110;
const ECONNREFUSED: i32 = 111;
const EHOSTDOWN: i32 = 112;
const EHOSTUNREACH: i32 = 113;

impl Verdict {
    /// What the errno of connect(2), or of `SO_ERROR` after it, says. Total:
    /// what is not known to be the target's is this node's.
    ///
    /// Want of a resource is ours; want of a route is the target's.
    #[must_use]
    pub const fn of_connect(errno: Errno) -> Self {
        match errno.0 {
            ECONNREFUSED => Self::Failure(Reason::Refused),
            ETIMEDOUT => Self::Failure(Reason::TimedOut),
            ECONNRESET | ECONNABORTED | EPIPE => Self::Failure(Reason::Reset),
            EHOSTUNREACH | EHOSTDOWN => Self::Failure(Reason::HostUnreachable),
            ENETUNREACH | ENETDOWN => Self::Failure(Reason::NetUnreachable),
            EINVAL => Self::Failure(Reason::Blackhole),
            EACCES => Self::Failure(Reason::Prohibited),
            // What net/ipv4/icmp.c and net/ipv6/icmp.c make of the rest.
            ENONET | EPROTO | EMSGSIZE | ENOPROTOOPT | EOPNOTSUPP => Self::Failure(Reason::Icmp),
            EMFILE | ENFILE => Self::Indeterminate(Local::Files),
            ENOMEM | ENOBUFS => Self::Indeterminate(Local::Memory),
            EADDRNOTAVAIL | EADDRINUSE | EAGAIN => Self::Indeterminate(Local::Ports),
            EPERM => Self::Indeterminate(Local::Denied),
            _ => Self::Indeterminate(Local::Other),
        }
    }

    /// What the errno of a read or a write on a connection that stood says;
    /// `reset` is the reason for an end by RST in this phase of it.
    #[must_use]
    pub const fn of_talk(errno: Errno, reset: Reason) -> Self {
        match errno.0 {
            // Nobody there any more answers with RST, whatever the kernel makes
            // of it.
            ECONNRESET | ECONNABORTED | EPIPE | ECONNREFUSED => Self::Failure(reset),
            // On a connection it is a mistake of ours, not a route.
            EINVAL => Self::Indeterminate(Local::Other),
            _ => Self::of_connect(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    /// The whole map, by the kernel's numbers.
    #[test]
    fn every_errno_has_one_meaning() {
        let mut table = String::new();
        for errno in i32::from(i8::MIN)..4096 {
            let verdict = Verdict::of_connect(Errno(errno));
            if verdict != Verdict::Indeterminate(Local::Other) {
                table += &std::format!("{errno} {verdict:?}\n");
            }
        }
        assert_eq!(table, include_str!("verdict.snapshot"));
    }

    #[test]
    fn every_reason_is_at_its_index() {
        for (n, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), n);
        }
        // Words are the labels of counters, so no two reasons share them.
        let mut words: std::vec::Vec<_> = Reason::ALL.iter().map(|r| r.words()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::COUNT);
        for (n, local) in Local::ALL.iter().enumerate() {
            assert_eq!(local.index(), n);
        }
    }
}
