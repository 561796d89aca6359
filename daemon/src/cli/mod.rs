//! The command line: one table of verbs, each a function of its arguments.
//! Exit status 0 is success, 1 that what was asked failed, 2 that it was not
//! understood.

mod check;
mod doctor;
mod failover;
mod guardian;
mod ipvs;
mod operate;
mod run;
mod runner;
mod show;

use crate::complain;
use crate::config::nearest;
use lexopt::{Arg, Parser};
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// A verb of the command line.
struct Verb {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    /// Lines of help on its options.
    options: &'static str,
    run: fn(&mut Parser) -> Result<ExitCode, Usage>,
}

const VERBS: &[Verb] = &[
    Verb {
        name: "run",
        arguments: "--config FILE",
        about: "run the daemon until SIGTERM; SIGHUP reloads the file",
        options: "  -c, --config FILE   the config file
",
        run: run::run,
    },
    Verb {
        name: "check",
        arguments: "[--json] FILE",
        about: "read a config file and say everything that is wrong with it",
        options: "  FILE     the file; - is standard input
  --json   print the mistakes as a JSON object
",
        run: check::run,
    },
    Verb {
        name: "show",
        arguments: "[--json] [--socket PATH | --config FILE]",
        about: "print what a running node is, does and believes",
        options: "  --json          print it as a JSON object
  --socket PATH   the node's control socket, /run/trunnion/control.sock by default
  --config FILE   take the socket's path from the node's config
",
        run: show::run,
    },
    Verb {
        name: "failover",
        arguments: "NAME | --all [--for DURATION | --cancel] [--socket PATH | --config FILE]",
        about: "let peers take over what is active here",
        options: "  NAME            a virtual router, which takes its group along, or a group
  --all           all of them
  --for DURATION  take nothing back from a living peer for so long; 1m by default
  --cancel        end an earlier failover: the node may preempt again
  --socket PATH   the node's control socket, /run/trunnion/control.sock by default
  --config FILE   take the socket's path from the node's config
",
        run: failover::run,
    },
    Verb {
        name: "drain",
        arguments: operate::ARGUMENTS,
        about: "send a backend no new clients; connections live on",
        options: operate::OPTIONS,
        run: operate::drain,
    },
    Verb {
        name: "maint",
        arguments: operate::ARGUMENTS,
        about: "the same, and do not check it",
        options: operate::OPTIONS,
        run: operate::maint,
    },
    Verb {
        name: "ready",
        arguments: operate::ARGUMENTS,
        about: "let its check decide again",
        options: operate::OPTIONS,
        run: operate::ready,
    },
    Verb {
        name: "force-up",
        arguments: operate::ARGUMENTS,
        about: "send it clients whatever its check says",
        options: operate::OPTIONS,
        run: operate::force_up,
    },
    Verb {
        name: "force-down",
        arguments: operate::ARGUMENTS,
        about: "take it for failed whatever its check says",
        options: operate::OPTIONS,
        run: operate::force_down,
    },
    Verb {
        name: "doctor",
        arguments: "[--json] [--config FILE]",
        about: "say what this host lacks, and the line to type for each",
        options: "  -c, --config FILE   look at what this config needs as well
  --json              print what was found as a JSON object
",
        run: doctor::run,
    },
    Verb {
        name: "ipvs",
        arguments: "VERB ...",
        about: "show, save and restore the kernel's table as ipvsadm does",
        options: "",
        run: ipvs::run,
    },
];

/// What the binary calls: runs the verb that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    match dispatch(Parser::from_env()) {
        Ok(code) => code,
        Err(usage) => {
            complain(&usage);
            ExitCode::from(2)
        }
    }
}

fn dispatch(mut args: Parser) -> Result<ExitCode, Usage> {
    match args.next()? {
        None => Err(Usage(format!("no verb: {}", verbs()))),
        Some(Arg::Short('h') | Arg::Long("help")) => help(&mut args),
        Some(Arg::Short('V') | Arg::Long("version")) => {
            print(format_args!("trunnion {}\n", env!("CARGO_PKG_VERSION")));
            Ok(ExitCode::SUCCESS)
        }
        Some(Arg::Value(word)) => {
            let word = word.to_string_lossy();
            match (&*word, find(&word)) {
                (_, Some(verb)) => (verb.run)(&mut args),
                ("help", None) => help(&mut args),
                ("guardian", None) => guardian::run(&mut args),
                ("runner", None) => runner::run(&mut args),
                (_, None) => Err(unknown_verb(&word)),
            }
        }
        Some(arg) => Err(arg.unexpected().into()),
    }
}

fn find(word: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == word)
}

fn unknown_verb(word: &str) -> Usage {
    let names = VERBS.iter().map(|verb| verb.name).chain(["help"]);
    Usage(match nearest(word, names) {
        Some(meant) => format!("unknown verb `{word}`: did you mean `trunnion {meant}`?"),
        None => format!("unknown verb `{word}`: {}", verbs()),
    })
}

fn verbs() -> String {
    let names: Vec<_> = VERBS.iter().map(|verb| verb.name).collect();
    format!("write one of {}, or help", names.join(", "))
}

fn help(args: &mut Parser) -> Result<ExitCode, Usage> {
    match args.next()? {
        None => print(Overview),
        Some(Arg::Value(word)) => {
            let word = word.to_string_lossy();
            let verb = find(&word).ok_or_else(|| unknown_verb(&word))?;
            if verb.name == "ipvs" {
                return ipvs::help_on(args);
            }
            print(verb);
        }
        Some(arg) => return Err(arg.unexpected().into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// `trunnion --help`.
struct Overview;

impl fmt::Display for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "trunnion: a layer-4 load-balancer node for Linux\n")?;
        for verb in VERBS {
            let call = format!("trunnion {} {}", verb.name, verb.arguments);
            writeln!(f, "  {call:<56} {}", verb.about)?;
        }
        writeln!(f, "  {:<56} how a verb is used", "trunnion help VERB")?;
        writeln!(f, "  {:<56} this version", "trunnion --version")
    }
}

/// `trunnion help VERB`.
impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            arguments,
            about,
            options,
            run: _,
        } = self;
        write!(f, "trunnion {name} {arguments}\n\n{about}\n\n{options}")
    }
}

/// Arguments that were not understood, and what to write instead.
#[derive(Debug)]
struct Usage(String);

impl From<lexopt::Error> for Usage {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trunnion: {}; `trunnion --help` shows all", self.0)
    }
}

/// Prints to standard output. A reader that went away is no error of ours.
fn print(text: impl fmt::Display) {
    let _ = std::io::stdout().write_all(text.to_string().as_bytes());
}
