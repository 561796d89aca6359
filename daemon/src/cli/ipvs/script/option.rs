//! The words of a command as options with their values: long, short, short
//! ones in one word, values in the same word or the next.

use crate::config::{Notes, nearest};
use std::ops::Range;
use trunnion_core::model::Protocol;

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word<'t> {
    pub text: &'t str,
    pub span: Range<usize>,
}

/// What an option says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Command(Head),
    Service(Protocol),
    Mark,
    V6,
    Scheduler,
    Persistent,
    Netmask,
    OnePacket,
    Engine,
    SchedulerFlags,
    Server,
    Route,
    Tunnel,
    Masq,
    Weight,
    Upper,
    Lower,
    TunnelType,
    TunnelPort,
    NoCsum,
    Csum,
    RemCsum,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Add,
    Edit,
    Delete,
    AddServer,
    EditServer,
    DeleteServer,
    Clear,
    /// One of ipvsadm's that is no row of a table, and our verb for it.
    Elsewhere(&'static str),
}

/// Whether an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// If the next word is no option.
    Maybe,
}

struct Spelling {
    long: &'static str,
    short: Option<char>,
    kind: Kind,
    takes: Takes,
}

const fn spelling(long: &'static str, short: Option<char>, kind: Kind, takes: Takes) -> Spelling {
    Spelling {
        long,
        short,
        kind,
        takes,
    }
}

/// ipvsadm(8).
const SPELLINGS: &[Spelling] = {
    use Takes::{Maybe, Nothing, Value};
    &[
        spelling("add-service", Some('A'), Kind::Command(Head::Add), Nothing),
        spelling(
            "edit-service",
            Some('E'),
            Kind::Command(Head::Edit),
            Nothing,
        ),
        spelling(
            "delete-service",
            Some('D'),
            Kind::Command(Head::Delete),
            Nothing,
        ),
        spelling(
            "add-server",
            Some('a'),
            Kind::Command(Head::AddServer),
            Nothing,
        ),
        spelling(
            "edit-server",
            Some('e'),
            Kind::Command(Head::EditServer),
            Nothing,
        ),
        spelling(
            "delete-server",
            Some('d'),
            Kind::Command(Head::DeleteServer),
            Nothing,
        ),
        spelling("clear", Some('C'), Kind::Command(Head::Clear), Nothing),
        spelling(
            "list",
            Some('L'),
            Kind::Command(Head::Elsewhere("list")),
            Nothing,
        ),
        spelling(
            "list",
            Some('l'),
            Kind::Command(Head::Elsewhere("list")),
            Nothing,
        ),
        spelling(
            "zero",
            Some('Z'),
            Kind::Command(Head::Elsewhere("zero")),
            Nothing,
        ),
        spelling(
            "restore",
            Some('R'),
            Kind::Command(Head::Elsewhere("restore")),
            Nothing,
        ),
        spelling(
            "save",
            Some('S'),
            Kind::Command(Head::Elsewhere("save")),
            Nothing,
        ),
        spelling(
            "set",
            None,
            Kind::Command(Head::Elsewhere("timeout --set")),
            Nothing,
        ),
        spelling(
            "start-daemon",
            None,
            Kind::Command(Head::Elsewhere("daemon start")),
            Value,
        ),
        spelling(
            "stop-daemon",
            None,
            Kind::Command(Head::Elsewhere("daemon stop")),
            Value,
        ),
        spelling(
            "tcp-service",
            Some('t'),
            Kind::Service(Protocol::TCP),
            Value,
        ),
        spelling(
            "udp-service",
            Some('u'),
            Kind::Service(Protocol::UDP),
            Value,
        ),
        spelling("sctp-service", None, Kind::Service(Protocol::SCTP), Value),
        spelling("fwmark-service", Some('f'), Kind::Mark, Value),
        spelling("ipv6", Some('6'), Kind::V6, Nothing),
        spelling("scheduler", Some('s'), Kind::Scheduler, Value),
        spelling("persistent", Some('p'), Kind::Persistent, Maybe),
        spelling("netmask", Some('M'), Kind::Netmask, Value),
        spelling("ops", Some('o'), Kind::OnePacket, Nothing),
        spelling("pe", None, Kind::Engine, Value),
        spelling("sched-flags", Some('b'), Kind::SchedulerFlags, Value),
        spelling("real-server", Some('r'), Kind::Server, Value),
        spelling("gatewaying", Some('g'), Kind::Route, Nothing),
        spelling("ipip", Some('i'), Kind::Tunnel, Nothing),
        spelling("masquerading", Some('m'), Kind::Masq, Nothing),
        spelling("weight", Some('w'), Kind::Weight, Value),
        spelling("u-threshold", Some('x'), Kind::Upper, Value),
        spelling("l-threshold", Some('y'), Kind::Lower, Value),
        spelling("tun-type", None, Kind::TunnelType, Value),
        spelling("tun-port", None, Kind::TunnelPort, Value),
        spelling("tun-nocsum", None, Kind::NoCsum, Nothing),
        spelling("tun-csum", None, Kind::Csum, Nothing),
        spelling("tun-remcsum", None, Kind::RemCsum, Nothing),
    ]
};

/// One option of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given<'t> {
    pub kind: Kind,
    /// As it was written, `-t` or `--tcp-service`.
    pub name: String,
    /// Where the option stands, without a value in another word.
    pub span: Range<usize>,
    pub value: Option<Word<'t>>,
}

/// Reads a command's words. What is no option of ipvsadm is noted and left
/// out; the rest is still read.
pub(super) fn read<'t>(words: &[Word<'t>], notes: &mut Notes) -> Vec<Given<'t>> {
    let mut all = Vec::new();
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        let mut next = |takes: Takes| {
            let word = rest.next_if(|next| match takes {
                Takes::Nothing => false,
                Takes::Value | Takes::Maybe => !is_option(next.text),
            });
            word.cloned()
        };
        if let Some(long) = word.text.strip_prefix("--") {
            all.extend(read_long(word, long, &mut next, notes));
        } else if word.text.starts_with('-') && word.text != "-" {
            read_short(word, &mut next, &mut all, notes);
        } else {
            notes.error(
                &word.span,
                format!("`{}` belongs to no option", word.text),
                "remove it, or write the option it is a value of before it",
            );
        }
    }
    all
}

/// Whether a word where a value should be is the next option instead: `-1` is
/// a bad value, `-6` and `-g` are options.
fn is_option(word: &str) -> bool {
    let number = word.strip_prefix('-').is_some_and(|rest| {
        rest != "6" && !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())
    });
    word.starts_with('-') && !number
}

fn read_long<'t>(
    word: &Word<'t>,
    long: &'t str,
    next: &mut impl FnMut(Takes) -> Option<Word<'t>>,
    notes: &mut Notes,
) -> Option<Given<'t>> {
    let (name, value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (long, None),
    };
    let Some(spelling) = SPELLINGS.iter().find(|spelling| spelling.long == name) else {
        let longs = SPELLINGS.iter().map(|spelling| spelling.long);
        let help = match nearest(name, longs) {
            Some(meant) => format!("write `--{meant}`"),
            None => "remove it: it says nothing of a table".to_owned(),
        };
        notes.error(&word.span, format!("unknown option `--{name}`"), help);
        // Perhaps its value.
        next(Takes::Maybe);
        return None;
    };
    let value = value.map(|value| Word {
        text: value,
        span: word.span.end - value.len()..word.span.end,
    });
    let name = format!("--{name}");
    given(spelling, name, word.span.clone(), value, next, notes)
}

/// `-At` is `-A -t`; what follows an option with a value is the value.
fn read_short<'t>(
    word: &Word<'t>,
    next: &mut impl FnMut(Takes) -> Option<Word<'t>>,
    all: &mut Vec<Given<'t>>,
    notes: &mut Notes,
) {
    for (at, letter) in word.text.char_indices().skip(1) {
        let start = word.span.start + at;
        let end = start + letter.len_utf8();
        let Some(spelling) = SPELLINGS.iter().find(|s| s.short == Some(letter)) else {
            notes.error(
                &(start..end),
                format!("unknown option `-{letter}`"),
                "remove it: it says nothing of a table",
            );
            // Perhaps its value.
            next(Takes::Maybe);
            return;
        };
        let rest = &word.text[end - word.span.start..];
        let value = match spelling.takes {
            Takes::Nothing => None,
            Takes::Value | Takes::Maybe if rest.is_empty() => None,
            Takes::Value | Takes::Maybe => {
                let text = rest.strip_prefix('=').unwrap_or(rest);
                Some(Word {
                    text,
                    span: word.span.end - text.len()..word.span.end,
                })
            }
        };
        let span = if word.text.chars().count() == 2 {
            word.span.clone()
        } else {
            start..end
        };
        let name = format!("-{letter}");
        all.extend(given(spelling, name, span, value, next, notes));
        if spelling.takes != Takes::Nothing {
            return;
        }
    }
}

fn given<'t>(
    spelling: &Spelling,
    name: String,
    span: Range<usize>,
    value: Option<Word<'t>>,
    next: &mut impl FnMut(Takes) -> Option<Word<'t>>,
    notes: &mut Notes,
) -> Option<Given<'t>> {
    let kind = spelling.kind;
    let value = match (value, spelling.takes) {
        (Some(value), Takes::Nothing) => {
            notes.error(
                &value.span,
                format!("`{name}` takes no value"),
                format!("write `{name}` alone"),
            );
            None
        }
        (Some(value), Takes::Value | Takes::Maybe) => Some(value),
        (None, takes) => next(takes),
    };
    if value.is_none() && spelling.takes == Takes::Value {
        notes.error(
            &span,
            format!("`{name}` needs a value"),
            format!("write {name} {}", example(kind)),
        );
        return None;
    }
    Some(Given {
        kind,
        name,
        span,
        value,
    })
}

/// What a value looks like.
const fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::Service(_) | Kind::Server => "192.0.2.1:80 or [2001:db8::1]:80",
        Kind::Mark => "and a number from 1",
        Kind::Scheduler => "wrr",
        Kind::Netmask => "255.255.255.0, or for IPv6 64",
        Kind::Engine => "sip",
        Kind::SchedulerFlags => "sh-port",
        Kind::TunnelType => "ipip, gue or gre",
        Kind::TunnelPort => "6080",
        Kind::Weight | Kind::Upper | Kind::Lower => "and a number from 0",
        Kind::Command(_)
        | Kind::V6
        | Kind::Persistent
        | Kind::OnePacket
        | Kind::Route
        | Kind::Tunnel
        | Kind::Masq
        | Kind::NoCsum
        | Kind::Csum
        | Kind::RemCsum => "and its value",
    }
}
