//! `trunnion ipvs VERB`: the kernel's table as ipvsadm shows, saves and takes
//! it. It asks the kernel, not a running node; text for people and its
//! grammar, not the requests (trunnion-core) or the socket (trunnion-sys).

mod actual;
mod connections;
mod json;
mod list;
mod listing;
mod order;
mod restore;
mod rule;
mod save;
mod script;
mod select;
mod simple;
mod sync;
mod words;

use super::{Usage, Verb, print};
use crate::complain;
use crate::config::nearest;
use lexopt::{Arg, Parser};
use std::fmt;
use std::io::{self, BufWriter, Stdout, Write as _};
use std::process::ExitCode;
use trunnion_sys::ipvs::Error;

/// The verbs under `trunnion ipvs`.
const VERBS: &[Verb] = &[
    Verb {
        name: "ipvs list",
        arguments: "[SERVICE] [FORM] [--json]",
        about: "print the kernel's table as ipvsadm -L -n does",
        options: list::OPTIONS,
        run: list::run,
    },
    Verb {
        name: "ipvs save",
        arguments: "[--json]",
        about: "print the kernel's table as lines that restore and ipvsadm -R read",
        options: save::OPTIONS,
        run: save::run,
    },
    Verb {
        name: "ipvs restore",
        arguments: "[--keep] [--dry-run] [--json] [FILE]",
        about: "make the kernel's table what such lines say, by the difference",
        options: restore::OPTIONS,
        run: restore::run,
    },
    Verb {
        name: "ipvs zero",
        arguments: "[SERVICE]",
        about: "set the counters of one service or of all to zero",
        options: select::OPTIONS,
        run: simple::zero,
    },
    Verb {
        name: "ipvs flush",
        arguments: "",
        about: "delete every service",
        options: "  The kernel forgets the services at once; connections end with them.\n",
        run: simple::flush,
    },
    Verb {
        name: "ipvs timeout",
        arguments: "[--set TCP TCPFIN UDP] [--json]",
        about: "print the timeouts of connections, or set them",
        options: "  --set TCP TCPFIN UDP   seconds; 0 leaves one as it is
  --json                 print them as a JSON object
",
        run: simple::timeout,
    },
    Verb {
        name: "ipvs daemon",
        arguments: "[start STATE | stop STATE] [--json]",
        about: "print, start or stop the daemons that synchronize connections",
        options: sync::OPTIONS,
        run: sync::run,
    },
];

/// `trunnion ipvs ...`.
pub(super) fn run(args: &mut Parser) -> Result<ExitCode, Usage> {
    match args.next()? {
        None => Err(Usage(format!("no verb after ipvs: {}", verbs()))),
        Some(Arg::Short('h') | Arg::Long("help")) => help_on(args),
        Some(Arg::Value(word)) => {
            let word = word.to_string_lossy();
            match (&*word, find(&word)) {
                (_, Some(verb)) => (verb.run)(args),
                ("help", None) => help_on(args),
                (_, None) => Err(unknown(&word)),
            }
        }
        Some(arg @ (Arg::Short(_) | Arg::Long(_))) => Err(arg.unexpected().into()),
    }
}

/// `trunnion help ipvs [VERB]`, from behind the `ipvs`.
pub(super) fn help_on(args: &mut Parser) -> Result<ExitCode, Usage> {
    match args.next()? {
        None => help(),
        Some(Arg::Value(word)) => {
            let word = word.to_string_lossy();
            print(find(&word).ok_or_else(|| unknown(&word))?);
        }
        Some(arg @ (Arg::Short(_) | Arg::Long(_))) => return Err(arg.unexpected().into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn help() {
    let mut text = "trunnion ipvs VERB\n\n\
         the kernel's table as ipvsadm shows, saves and takes it\n\n"
        .to_owned();
    for verb in VERBS {
        let call = format!("trunnion {} {}", verb.name, verb.arguments);
        text.push_str(&format!("  {call:<56} {}\n", verb.about));
    }
    text.push_str(&format!(
        "  {:<56} how a verb is used\n",
        "trunnion help ipvs VERB"
    ));
    print(text);
}

/// The verb of a word after `ipvs`.
fn find(word: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| last_word(verb) == word)
}

/// What to say of a word after `ipvs` that is no verb.
fn unknown(word: &str) -> Usage {
    // What ipvsadm and habit call them.
    let meant = match word {
        "show" | "ls" => Some("list"),
        "clear" => Some("flush"),
        "set" | "timeouts" => Some("timeout"),
        _ => nearest(word, VERBS.iter().map(last_word)),
    };
    Usage(match meant {
        Some(meant) => format!("unknown verb `ipvs {word}`: did you mean `trunnion ipvs {meant}`?"),
        None => format!("unknown verb `ipvs {word}`: {}", verbs()),
    })
}

fn last_word(verb: &Verb) -> &'static str {
    verb.name.rsplit(' ').next().unwrap_or(verb.name)
}

fn verbs() -> String {
    let names: Vec<_> = VERBS.iter().map(last_word).collect();
    format!("write one of {}", names.join(", "))
}

/// Why a verb ended before it was done.
#[derive(Debug)]
enum Trouble {
    /// The kernel, or the way to it.
    Kernel(Error),
    /// Standard output.
    Output(io::Error),
    /// What was asked cannot be had.
    Said(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => write!(f, "{error}"),
            Self::Output(error) => write!(f, "standard output: {error}"),
            Self::Said(words) => f.write_str(words),
        }
    }
}

/// The exit code of what a verb did, its trouble said.
fn ended(result: Result<(), Trouble>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that went away is no error of ours.
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(trouble) => {
            complain(format_args!("trunnion: {trouble}"));
            ExitCode::FAILURE
        }
    }
}

/// Standard output for tables of any size.
struct Output(BufWriter<Stdout>);

impl Output {
    fn new() -> Self {
        Self(BufWriter::with_capacity(64 * 1024, io::stdout()))
    }

    fn put(&mut self, text: &str) -> Result<(), Trouble> {
        Ok(self.0.write_all(text.as_bytes())?)
    }

    fn finish(mut self) -> Result<(), Trouble> {
        Ok(self.0.flush()?)
    }
}
