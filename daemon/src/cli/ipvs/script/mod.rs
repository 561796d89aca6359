//! A file of ipvsadm's commands, as `ipvsadm -S` writes and `ipvsadm -R` reads
//! it: one command on a line, `#` begins a comment. All of it is read, so that
//! every mistake is told at once. Not what to change: that is a difference.
//!
//! The grammar is that of ipvsadm 1.31 (popt), but that names of hosts and
//! services are not looked up.

mod command;
mod option;
mod table;
#[cfg(test)]
mod tests;

pub(super) use table::{Script, narrow, plain};

use crate::config::{Errors, Notes, Severity, errors};
use command::Command;
use option::Word;
use table::Declared;

impl Script {
    /// Reads a file's text; `file` is its name in messages.
    ///
    /// # Errors
    /// Every mistake in it, in the order of its lines.
    pub fn read(text: &str, file: &str) -> Result<Self, Errors> {
        let mut notes = Notes::default();
        let mut declared = Declared::default();
        for (number, line) in lines(text) {
            let words = words(text, line);
            if let Some(command) = Command::read(&words, &mut notes) {
                declared.carry_out(command, number, &mut notes);
            }
        }
        let Errors { file, mistakes } = errors(text, file, notes.list);
        if mistakes.iter().any(|m| m.severity == Severity::Error) {
            return Err(Errors { file, mistakes });
        }
        Ok(declared.finish(mistakes))
    }

    /// Reads a file's bytes, which must be UTF-8.
    ///
    /// # Errors
    /// As [`Script::read`].
    pub fn read_bytes(bytes: &[u8], file: &str) -> Result<Self, Errors> {
        match str::from_utf8(bytes) {
            Ok(text) => Self::read(text, file),
            Err(error) => {
                let at = error.valid_up_to();
                let sound = String::from_utf8_lossy(bytes);
                let mut notes = Notes::default();
                notes.error(
                    &(at..at + 1),
                    format!("byte {:#04x} is not UTF-8", bytes[at]),
                    "save the file as UTF-8",
                );
                Err(errors(&sound, file, notes.list))
            }
        }
    }
}

/// The lines with their numbers, from 1, as places in the text.
fn lines(text: &str) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + '_ {
    let mut start = 0;
    text.split_inclusive('\n')
        .enumerate()
        .map(move |(at, line)| {
            let span = start..start + line.len();
            start = span.end;
            (at + 1, span)
        })
}

/// The words of a line, without its comment and the `ipvsadm` that a line from
/// a shell script begins with.
fn words(text: &str, line: std::ops::Range<usize>) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = line.start;
    for word in text[line].split_inclusive(char::is_whitespace) {
        let trimmed = word.trim_end_matches(char::is_whitespace);
        if trimmed.starts_with('#') {
            break;
        }
        let is_program = words.is_empty() && trimmed.rsplit('/').next() == Some("ipvsadm");
        if !trimmed.is_empty() && !is_program {
            words.push(Word {
                text: trimmed,
                span: at..at + trimmed.len(),
            });
        }
        at += word.len();
    }
    words
}
