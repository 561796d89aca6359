//! The project's own commands: `cargo xtask NAME`. One file for each; this is
//! the table of them.
//!
//! They are plain std programs that call others (cargo, git, apt-get,
//! linux.uml): a newcomer's first command builds this crate, so it stays small.

mod bench;
mod capture;
mod demo;
mod failure;
mod fuzz;
mod no_alloc;
mod process;
mod setup;
mod sim;
mod soak;
mod test;
mod tidy;
mod vm;

use failure::{Failure, Result};
use std::process::ExitCode;

/// A command: what it is called, what it says of itself, what it does.
struct Command {
    name: &'static str,
    about: &'static str,
    help: &'static str,
    run: fn(lexopt::Parser) -> Result<ExitCode>,
}

/// A row of the table: the file's name is the command's.
macro_rules! command {
    ($name:ident, $about:literal) => {
        Command {
            name: stringify!($name),
            about: $about,
            help: $name::HELP,
            run: $name::main,
        }
    };
}

const COMMANDS: &[Command] = &[
    command!(demo, "two nodes under real traffic on a real kernel"),
    command!(test, "everything that must hold: what CI runs"),
    command!(
        vm,
        "run a command on a real ip_vs kernel, without privilege"
    ),
    command!(tidy, "check the rules of the house that no compiler knows"),
    command!(setup, "find or install what the other commands call"),
    command!(fuzz, "run fuzz targets"),
    command!(sim, "run whole clusters in virtual time"),
    command!(soak, "run the IPVS client, or the health checks, for long"),
    command!(bench, "run benchmarks"),
    command!(
        capture,
        "record ipvsadm's requests and the kernel's replies as golden files"
    ),
];

fn main() -> ExitCode {
    match dispatch() {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<ExitCode> {
    let mut parser = lexopt::Parser::from_env();
    let Some(first) = parser.next()? else {
        print!("{}", usage());
        return Ok(ExitCode::SUCCESS);
    };
    let name = match first {
        lexopt::Arg::Value(name) => name.to_string_lossy().into_owned(),
        lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => "help".to_owned(),
        other @ (lexopt::Arg::Short(_) | lexopt::Arg::Long(_)) => {
            return Err(other.unexpected().into());
        }
    };
    if name == "help" {
        let Some(asked) = parser.next()? else {
            print!("{}", usage());
            return Ok(ExitCode::SUCCESS);
        };
        let lexopt::Arg::Value(asked) = asked else {
            return Err(asked.unexpected().into());
        };
        print!("{}", find(&asked.to_string_lossy())?.help);
        return Ok(ExitCode::SUCCESS);
    }
    let command = find(&name)?;
    if asks_for_help(&parser) {
        print!("{}", command.help);
        return Ok(ExitCode::SUCCESS);
    }
    (command.run)(parser)
}

/// Whether `-h` or `--help` is the word right after the command's name; later
/// ones may belong to a command that is passed on.
fn asks_for_help(parser: &lexopt::Parser) -> bool {
    let mut ahead = parser.clone();
    matches!(
        ahead.next(),
        Ok(Some(lexopt::Arg::Short('h') | lexopt::Arg::Long("help")))
    )
}

fn find(name: &str) -> Result<&'static Command> {
    COMMANDS
        .iter()
        .find(|command| command.name == name)
        .ok_or_else(|| {
            Failure::new(format!(
                "no command {name:?}; `cargo xtask` alone lists the commands"
            ))
        })
}

fn usage() -> String {
    let mut text = String::from("usage: cargo xtask COMMAND [OPTIONS]\n\n");
    for Command { name, about, .. } in COMMANDS {
        text += &format!("  {name:<9}{about}\n");
    }
    text + "\n`cargo xtask help COMMAND` tells more of one.\n"
}
