//! What a command printed, for the log.

use super::report::CommandSaid;
use crate::record::Ring;
use crate::time::Instant;
use core::net::SocketAddr;
use heapless::String;

/// Bytes of each half of a line: a record has two texts and an address.
pub const HALF_BYTES: usize = 48;

/// Half of a line.
pub type Half = String<HALF_BYTES, u8>;

/// Writes the record of what the command of a check of `target` printed, if it
/// printed anything.
pub fn log(now: Instant, target: SocketAddr, output: &[u8], ring: &mut Ring<'_>) {
    let (said, more) = line(output);
    if !said.is_empty() {
        ring.log(
            now,
            CommandSaid {
                address: target.ip(),
                port: target.port(),
                said,
                more,
            },
        );
    }
}

/// The first line that has anything in it, cut where there is no more room. What is
/// no text, and what would move a terminal's cursor, is a question mark.
fn line(output: &[u8]) -> (Half, Half) {
    let mut halves = (Half::new(), Half::new());
    for chunk in output.utf8_chunks() {
        let odd = (!chunk.invalid().is_empty()).then_some('?');
        for c in chunk.valid().chars().chain(odd) {
            let begun = !halves.0.is_empty();
            match c {
                '\n' if begun => return halves,
                c if c.is_whitespace() && !begun => continue,
                _ => {}
            }
            let shown = match c {
                '\t' => ' ',
                c if c.is_control() => '?',
                c => c,
            };
            let first = halves.1.is_empty() && halves.0.push(shown).is_ok();
            if !first && halves.1.push(shown).is_err() {
                return halves;
            }
        }
    }
    halves
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn one_line_is_shown_and_nothing_that_harms_a_terminal() {
        let shown = |output: &[u8]| {
            let (said, more) = line(output);
            said.to_string() + &more
        };
        assert_eq!(
            shown(b"CRITICAL - no answer\nmore\n"),
            "CRITICAL - no answer"
        );
        assert_eq!(shown(b"\n \n  late\tline\r\n"), "late line?");
        assert_eq!(shown(b"\x1b[2J\xff\xfe!"), "?[2J??!");
        assert_eq!(shown(b" \n\n"), "");
        assert_eq!(shown("ü".repeat(100).as_bytes()), "ü".repeat(48));
        let long = "0123456789".repeat(20);
        assert_eq!(shown(long.as_bytes()), &long[..96]);
        // A character that does not fit the first half begins the second.
        let odd = "x".repeat(47) + "üy";
        assert_eq!(line(odd.as_bytes()).1, "üy");
    }
}
