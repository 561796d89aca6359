//! `trunnion ipvs restore`: makes the kernel's table what a file of ipvsadm's
//! commands says, by the difference and make before break. The table is never
//! flushed, and what is right already is not touched.

use super::actual::Actual;
use super::rule;
use super::script::Script;
use super::{Trouble, ended};
use crate::cli::{Usage, print};
use crate::complain;
use crate::config::{Errors, Mistake, plural};
use lexopt::{Arg, Parser};
use serde_json::{Value, json};
use std::io::{self, Read as _};
use std::process::ExitCode;
use trunnion_core::ipvs::{Command, meaning};
use trunnion_core::netlink::Errno;
use trunnion_core::reconcile::{Change, Cursor, Ownership};
use trunnion_sys::ipvs::{Error, Ipvs, Outcome};

/// Help on the options.
pub(super) const OPTIONS: &str =
    "  FILE        lines of ipvsadm -S; standard input without one, or as -
  --keep      leave services alone of which the file says nothing; without it
              they are deleted, as ipvsadm-restore does
  --dry-run   print the commands that would be carried out, and none of them is
  --json      what was changed, and every mistake, as a JSON object
";

/// How often changes are sent until the table is read and nothing differs.
const ROUNDS: usize = 3;

/// What is asked for.
#[derive(Debug)]
struct Wish {
    file: Option<String>,
    keep: bool,
    dry_run: bool,
    as_json: bool,
}

pub(super) fn run(args: &mut Parser) -> Result<ExitCode, Usage> {
    let mut wish = Wish {
        file: None,
        keep: false,
        dry_run: false,
        as_json: false,
    };
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("keep") => wish.keep = true,
            Arg::Long("dry-run") => wish.dry_run = true,
            Arg::Long("json") => wish.as_json = true,
            Arg::Value(file) if wish.file.is_none() => {
                wish.file = Some(file.to_string_lossy().into_owned());
            }
            Arg::Value(_) | Arg::Short(_) | Arg::Long(_) => return Err(arg.unexpected().into()),
        }
    }
    let bytes = match read_file(wish.file.as_deref()) {
        Ok(bytes) => bytes,
        Err(trouble) => return Ok(ended(Err(trouble))),
    };
    let name = match wish.file.as_deref() {
        None | Some("-") => "standard input",
        Some(file) => file,
    };
    let script = match Script::read_bytes(&bytes, name) {
        Ok(script) => script,
        Err(errors) => {
            refuse(&wish, name, &errors);
            return Ok(ExitCode::FAILURE);
        }
    };
    if !wish.as_json {
        for warning in &script.warnings {
            complain(warning);
        }
    }
    Ok(restore(&wish, name, &script).unwrap_or_else(|trouble| ended(Err(trouble))))
}

fn read_file(file: Option<&str>) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    let read = match file {
        None | Some("-") => io::stdin().lock().read_to_end(&mut bytes).map(|_| ()),
        Some(file) => std::fs::read(file).map(|all| bytes = all),
    };
    let name = file.unwrap_or("standard input");
    match read {
        Ok(()) => Ok(bytes),
        Err(error) => Err(Trouble::Said(format!("{name}: cannot be read: {error}"))),
    }
}

fn refuse(wish: &Wish, name: &str, errors: &Errors) {
    if wish.as_json {
        let mut value = report(name, wish, &errors.mistakes, &Done::default());
        value["valid"] = false.into();
        print(format_args!("{value:#}\n"));
    } else {
        complain(errors);
    }
}

/// What became of the changes, each as its command.
#[derive(Debug, Default)]
struct Done {
    changes: Vec<String>,
    failed: Vec<Failed>,
    /// Not tried, because of those that failed.
    held_back: Vec<String>,
    /// The table was read last and is what the file says.
    converged: bool,
}

#[derive(Debug)]
struct Failed {
    change: String,
    line: Option<usize>,
    why: String,
}

fn restore(wish: &Wish, name: &str, script: &Script) -> Result<ExitCode, Trouble> {
    let mut ipvs = Ipvs::open()?;
    let mut done = Done::default();
    for round in 0.. {
        let actual = Actual::read(&mut ipvs)?;
        let changes = difference(wish, name, script, &actual)?;
        if wish.dry_run {
            done.changes = changes.iter().map(rule::change).collect();
        }
        // Only a table that was read and does not differ is restored.
        done.converged = changes.is_empty();
        if !done.converged && (wish.dry_run || round == ROUNDS) {
            break;
        }
        done.failed.clear();
        done.held_back.clear();
        if done.converged {
            break;
        }
        let may_help = apply(&mut ipvs, script, &changes, &mut done)?;
        if !done.failed.is_empty() && !may_help {
            break;
        }
    }
    if wish.as_json {
        let value = report(name, wish, &script.warnings, &done);
        print(format_args!("{value:#}\n"));
    } else {
        say(wish, name, &done);
    }
    Ok(if wish.dry_run || done.converged {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What to change so that the table is the script's.
fn difference<'a>(
    wish: &Wish,
    name: &str,
    script: &'a Script,
    actual: &'a Actual,
) -> Result<Vec<Change<'a>>, Trouble> {
    for (key, mask) in &script.odd_masks {
        if actual.odd_masks.get(key) != Some(mask) {
            let line = script.line(key, None).unwrap_or(0);
            return Err(Trouble::Said(format!(
                "{name}:{line}: mask {mask} is no prefix, and only ipvsadm sets such: write one \
                 like 255.255.255.0"
            )));
        }
    }
    let ownership = if wish.keep {
        Ownership::Declared
    } else {
        Ownership::All
    };
    let (desired, actual) = (script.table(), actual.table());
    if desired.services.is_empty() && !script.clears && !wish.keep && !actual.services.is_empty() {
        return Err(Trouble::Said(format!(
            "{name}: declares no service, and the kernel has {}: write -C into it if all are to go",
            plural(actual.services.len(), "service")
        )));
    }
    let mut changes = Vec::new();
    let mut cursor = Cursor::new(ownership);
    while let Some(change) = cursor.next(desired, actual) {
        changes.push(change);
    }
    Ok(changes)
}

/// Carries out changes; what takes something away only when all before it went
/// well. Says whether the table was not as it had been read, so that reading it
/// again may help.
fn apply(
    ipvs: &mut Ipvs,
    script: &Script,
    changes: &[Change<'_>],
    done: &mut Done,
) -> Result<bool, Trouble> {
    let makes = changes.partition_point(|change| !change.is_destructive());
    let (makes, breaks) = changes.split_at(makes);
    let mut again = false;
    for part in [makes, breaks] {
        if !done.failed.is_empty() {
            done.held_back = part.iter().map(rule::change).collect();
            break;
        }
        let mut outcomes = vec![Outcome::NotSent; part.len()];
        match ipvs.apply(part, &mut outcomes) {
            Ok(()) => {}
            Err(Error::Unknown) => again = true,
            Err(error) => return Err(error.into()),
        }
        for (change, outcome) in part.iter().zip(&outcomes) {
            if *outcome == Outcome::Done {
                done.changes.push(rule::change(change));
            } else {
                again |= was_not_so(outcome);
                done.failed
                    .push(failed(script, change, why(change, outcome)));
            }
        }
    }
    Ok(again)
}

/// Whether the table may be another than the one that was read.
fn was_not_so(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Failed(errno) => {
            matches!(*errno, Errno::EEXIST | Errno::ESRCH | Errno::ENOENT)
        }
        Outcome::Unknown | Outcome::NotSent => true,
        Outcome::Done | Outcome::Refused(_) => false,
    }
}

fn failed(script: &Script, change: &Change<'_>, why: String) -> Failed {
    let at = match change {
        Change::AddDestination(_, it) | Change::SetDestination(_, it) => Some(&it.key),
        Change::DeleteDestination(_, at) => Some(*at),
        Change::AddService(_) | Change::SetService(_) | Change::DeleteService(_) => None,
    };
    Failed {
        change: rule::change(change),
        line: script.line(change.service(), at),
        why,
    }
}

/// Why a change is not done.
fn why(change: &Change<'_>, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Failed(errno) => failure(change, *errno).to_owned(),
        Outcome::Refused(refused) => refused.to_string(),
        Outcome::Unknown => "the kernel's answer is missing".to_owned(),
        Outcome::NotSent => "not sent, because answers are missing".to_owned(),
    }
}

fn failure(change: &Change<'_>, errno: Errno) -> &'static str {
    let command = match change {
        Change::AddService(_) => Command::NEW_SERVICE,
        Change::SetService(_) => Command::SET_SERVICE,
        Change::DeleteService(_) => Command::DEL_SERVICE,
        Change::AddDestination(..) => Command::NEW_DEST,
        Change::SetDestination(..) => Command::SET_DEST,
        Change::DeleteDestination(..) => Command::DEL_DEST,
    };
    meaning(command, errno)
}

fn say(wish: &Wish, name: &str, done: &Done) {
    if wish.dry_run {
        for change in &done.changes {
            print(format_args!("{change}\n"));
        }
        return;
    }
    for Failed { change, line, why } in &done.failed {
        match line {
            Some(line) => complain(format_args!("{name}:{line}: error: {why}: {change}")),
            None => complain(format_args!("{name}: error: {why}: {change}")),
        }
    }
    if !done.held_back.is_empty() {
        let held_back = plural(done.held_back.len(), "delete");
        complain(format_args!("{name}: {held_back} held back for that"));
    }
    let changed = plural(done.changes.len(), "change");
    if !done.converged && done.failed.is_empty() {
        complain(format_args!(
            "{name}: {changed}, and the table differs again: is there something else that sets it, \
             keepalived or trunnion run?"
        ));
        return;
    }
    match done.failed.len() {
        0 if done.changes.is_empty() => {
            print(format_args!("{name}: the table is so already\n"));
        }
        0 => print(format_args!("{name}: {changed}\n")),
        failed => complain(format_args!("{name}: {changed}, {failed} failed")),
    }
}

fn report(name: &str, wish: &Wish, mistakes: &[Mistake], done: &Done) -> Value {
    let failed: Vec<_> = done
        .failed
        .iter()
        .map(|failed| {
            json!({
                "change": failed.change,
                "line": failed.line,
                "reason": failed.why,
            })
        })
        .collect();
    json!({
        "file": name,
        "valid": true,
        "mistakes": mistakes.iter().map(Mistake::to_json).collect::<Vec<_>>(),
        "dry_run": wish.dry_run,
        "changes": done.changes,
        "failed": failed,
        "held_back": done.held_back,
        "converged": done.converged,
    })
}
