//! Golden files: words in comments, bytes in hex, one attribute a line.

use super::pcap::{Message, u16_at};
use crate::failure::{Failure, Result};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NLM_F_MULTI`.
const MULTI: u16 = 2;
/// `NLM_F_DUMP`.
const DUMP: u16 = 0x300;
/// `NLMSG_DONE`.
const DONE: u16 = 3;
/// Below are netlink's own types and the controller.
const FIRST_FAMILY: u16 = 17;
/// Commands that are not asked for by name: GET_SERVICE, GET_DEST, GET_DAEMON,
/// GET_CONFIG, GET_INFO.
const ASKING: [u8; 5] = [4, 8, 11, 13, 15];
const GET_SERVICE: u8 = 4;
const GET_DEST: u8 = 8;
const GET_DAEMON: u8 = 11;

/// Writes all files and says how many.
pub fn write(
    golden: &Path,
    scratch: &Path,
    named: &[(&str, &str)],
    recorded: &[Message],
) -> Result<usize> {
    fs::create_dir_all(golden).map_err(Failure::io("create", golden))?;
    let kernel = line(&scratch.join("kernel"))?;
    let ipvsadm = line(&scratch.join("ipvsadm"))?;
    let origin = format!("# recorded on linux {kernel} with {ipvsadm}\n");

    let mut told = recorded
        .iter()
        .filter(|message| is_request(message) && !ASKING.contains(&command(message)));
    let mut count = 0;
    for (name, arguments) in named {
        let message = told.next().ok_or_else(|| {
            Failure::new(format!(
                "capture: no request was seen for ipvsadm {arguments}"
            ))
        })?;
        let mut text = format!("# ipvsadm {arguments}\n{origin}");
        payload(&mut text, &message.bytes[16..]);
        put(&golden.join(format!("{name}.hex")), &text)?;
        count += 1;
    }

    // The last of each: the listing that was made of the whole table.
    let services = recorded
        .iter()
        .rposition(|message| is_dump(message, GET_SERVICE))
        .ok_or_else(|| Failure::new("capture: no dump of services was seen"))?;
    let mut text = format!("# reply to the dump of services\n{origin}");
    let mut rows = answer(&mut text, &recorded[services..]);
    put(&golden.join("dump-services.hex"), &text)?;
    count += 1;
    // One dump for each service, in the order of the listing.
    let destinations = (services..recorded.len()).filter(|at| is_dump(&recorded[*at], GET_DEST));
    let save = scratch.join("table.save");
    let save = fs::read_to_string(&save).map_err(Failure::io("read", &save))?;
    let listed = save.lines().filter(|line| line.starts_with("-A"));
    let mut text = format!("# replies to the dumps of destinations\n{origin}");
    for (at, service) in destinations.zip(listed) {
        writeln!(text, "# of {service}").expect("a String takes what it is given");
        rows += answer(&mut text, &recorded[at..]);
    }
    put(&golden.join("dump-destinations.hex"), &text)?;
    count += 1;
    let daemons = recorded
        .iter()
        .position(|message| is_dump(message, GET_DAEMON))
        .ok_or_else(|| Failure::new("capture: no dump of daemons was seen"))?;
    let mut text = format!("# reply to the dump of synchronization daemons\n{origin}");
    rows += answer(&mut text, &recorded[daemons..]);
    put(&golden.join("dump-daemons.hex"), &text)?;
    count += 1;
    for table in ["table.save", "table.stats", "table.daemons"] {
        let from = scratch.join(table);
        let text = fs::read_to_string(&from).map_err(Failure::io("read", &from))?;
        put(&golden.join(table), &text)?;
        count += 1;
    }
    println!("{} requests, {rows} rows dumped", named.len());
    Ok(count)
}

fn is_request(message: &Message) -> bool {
    message.kind >= FIRST_FAMILY && message.flags & REQUEST != 0
}

fn is_dump(message: &Message, asked: u8) -> bool {
    is_request(message) && message.flags & DUMP == DUMP && command(message) == asked
}

fn command(message: &Message) -> u8 {
    message.bytes.get(16).copied().unwrap_or(0)
}

/// The dump that answers the first of `recorded`: ipvsadm asks one thing at a
/// time, so it is what follows, up to its end. What changes from one recording to
/// the next (sequence number, port) is zeroed. Returns the number of rows.
fn answer(text: &mut String, recorded: &[Message]) -> usize {
    let mut rows = 0;
    let answers = recorded
        .iter()
        .filter(|message| message.flags & (REQUEST | MULTI) == MULTI);
    for message in answers {
        let (header, body) = message.bytes.split_at(16);
        let header = [&header[..4], &header[4..6], &header[6..8], &[0; 8]];
        if message.kind == DONE {
            text.push_str("# done\n");
            words(text, "", &header);
            words(text, "", &[body]);
            break;
        }
        writeln!(text, "# row {rows}").expect("a String takes what it is given");
        words(text, "", &header);
        payload(text, body);
        rows += 1;
    }
    rows
}

/// The generic header and the attributes.
fn payload(text: &mut String, body: &[u8]) {
    let (header, attributes) = body.split_at(body.len().min(4));
    words(text, "", &[header]);
    lines(text, attributes, &[]);
}

/// Which attributes are nests: services, destinations and daemons at the top,
/// and both kinds of counters in the first two.
fn is_nest(path: &[u16], kind: u16) -> bool {
    match path {
        [] => (1..=3).contains(&kind),
        [_] => kind == 10 || kind == 12,
        _ => false,
    }
}

fn lines(text: &mut String, mut attributes: &[u8], path: &[u16]) {
    let indent = "  ".repeat(path.len() + 1);
    while let (Some(len), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let len = usize::from(len).clamp(4, attributes.len());
        let end = len.next_multiple_of(4).min(attributes.len());
        let (this, rest) = attributes.split_at(end);
        let kind = kind & 0x3fff;
        if is_nest(path, kind) {
            words(text, &indent, &[&this[..2], &this[2..4]]);
            lines(text, &this[4..len], &[path, &[kind]].concat());
        } else {
            words(
                text,
                &indent,
                &[&this[..2], &this[2..4], &this[4..len], &this[len..]],
            );
        }
        attributes = rest;
    }
}

/// A line of hex, a space between the fields.
fn words(text: &mut String, indent: &str, fields: &[&[u8]]) {
    text.push_str(indent);
    let mut first = true;
    for field in fields.iter().filter(|field| !field.is_empty()) {
        if !first {
            text.push(' ');
        }
        first = false;
        for byte in *field {
            write!(text, "{byte:02x}").expect("a String takes what it is given");
        }
    }
    text.push('\n');
}

fn line(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).map_err(Failure::io("read", path))?;
    Ok(text.lines().next().unwrap_or("").to_owned())
}

fn put(path: &Path, text: &str) -> Result {
    fs::write(path, text).map_err(Failure::io("write", path))
}
