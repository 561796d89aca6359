//! From the text of a pattern to its automaton, in one pass.

use super::set::{Element, Set};
use super::{DEPTH_MAX, POSITIONS_MAX, Regex, RegexError, RegexFault, left, ones};

/// A part of the pattern: what it is to its neighbours.
#[derive(Clone, Copy)]
struct Part {
    /// Its first position; it has all from there on when it was just made.
    start: u32,
    first: u64,
    last: u64,
    /// It matches nothing at all.
    nullable: bool,
}

struct Compiler<'p> {
    pattern: &'p [u8],
    at: usize,
    used: u32,
    depth: u8,
    fold: bool,
    regex: Regex,
}

pub(super) fn compile(pattern: &[u8]) -> Result<Regex, RegexError> {
    let mut compiler = Compiler {
        pattern,
        at: 0,
        used: 0,
        depth: 0,
        fold: false,
        regex: Regex {
            takes: [0; 256],
            follow: [0; POSITIONS_MAX],
            first: 0,
            first_at_start: 0,
            last: 0,
            last_at_end: 0,
            always: 0,
            empty: 0,
        },
    };
    compiler.fold = compiler.eat(b"(?i)");
    compiler.whole().map_err(|fault| RegexError {
        column: compiler.at.saturating_add(1),
        fault,
    })?;
    Ok(compiler.regex)
}

impl Compiler<'_> {
    /// The alternatives outside groups, which may be anchored.
    fn whole(&mut self) -> Result<(), RegexFault> {
        loop {
            let at_start = self.eat(b"^");
            let part = self.sequence()?;
            let at_end = self.eat(b"$");
            let Regex {
                first,
                first_at_start,
                last,
                last_at_end,
                always,
                empty,
                ..
            } = &mut self.regex;
            *(if at_start { first_at_start } else { first }) |= part.first;
            *(if at_end { last_at_end } else { last }) |= part.last;
            *always |= u64::from(part.nullable && !(at_start && at_end));
            *empty |= u64::from(part.nullable);
            if !self.eat(b"|") {
                break;
            }
        }
        match self.peek() {
            None => Ok(()),
            Some(b')') => Err(RegexFault::CloseGroup),
            Some(_) => Err(RegexFault::Anchor),
        }
    }

    /// The alternatives inside a group.
    fn alternatives(&mut self) -> Result<Part, RegexFault> {
        let mut all = self.sequence()?;
        while self.eat(b"|") {
            let part = self.sequence()?;
            all.first |= part.first;
            all.last |= part.last;
            all.nullable |= part.nullable;
        }
        Ok(all)
    }

    fn sequence(&mut self) -> Result<Part, RegexFault> {
        let mut all = Part {
            start: self.used,
            first: 0,
            last: 0,
            nullable: true,
        };
        while let Some(byte) = self.peek() {
            match byte {
                b'|' | b')' | b'$' => break,
                b'^' => return Err(RegexFault::Anchor),
                b'*' | b'+' | b'?' | b'{' => return Err(RegexFault::Repetition),
                _ => {}
            }
            let atom = self.atom()?;
            let part = self.repetition(atom)?;
            all = self.join(all, part);
        }
        Ok(all)
    }

    fn atom(&mut self) -> Result<Part, RegexFault> {
        match self.peek() {
            Some(b'(') => self.group(),
            Some(b'[') => {
                let set = self.set()?;
                self.position(&set)
            }
            Some(b'.') => {
                self.skip(1);
                self.position(&Set::of(|byte| byte != b'\n'))
            }
            Some(b']' | b'}') => Err(RegexFault::Unescaped),
            Some(_) => {
                let set = self.element()?.set();
                let set = self.both_cases(set);
                self.position(&set)
            }
            None => Err(RegexFault::Escape),
        }
    }

    fn group(&mut self) -> Result<Part, RegexFault> {
        let opened = self.at;
        if !self.eat(b"(?:") {
            self.skip(1);
            if self.peek() == Some(b'?') {
                return Err(RegexFault::Extension);
            }
        }
        if self.depth == DEPTH_MAX {
            return Err(RegexFault::TooDeep);
        }
        self.depth = self.depth.saturating_add(1);
        let part = self.alternatives()?;
        self.depth = self.depth.saturating_sub(1);
        match self.peek() {
            Some(b')') => {
                self.skip(1);
                Ok(part)
            }
            Some(_) => Err(RegexFault::Anchor),
            None => {
                self.at = opened;
                Err(RegexFault::OpenGroup)
            }
        }
    }

    /// A byte or a class, escaped or not.
    fn element(&mut self) -> Result<Element, RegexFault> {
        match self.peek() {
            Some(b'\\') => self.escape(),
            Some(byte) if byte.is_ascii() => {
                self.skip(1);
                Ok(Element::Byte(byte))
            }
            Some(_) => Err(RegexFault::NotAscii),
            None => Err(RegexFault::Escape),
        }
    }

    fn escape(&mut self) -> Result<Element, RegexFault> {
        let name = self.peek_at(1).ok_or(RegexFault::Escape)?;
        let byte = match name {
            b't' => b'\t',
            b'n' => b'\n',
            b'r' => b'\r',
            b'f' => 0x0c,
            b'v' => 0x0b,
            b'x' => {
                let (high, low) = self
                    .peek_at(2)
                    .and_then(hex)
                    .zip(self.peek_at(3).and_then(hex))
                    .ok_or(RegexFault::Escape)?;
                self.skip(4);
                return Ok(Element::Byte(high << 4 | low));
            }
            b'd' | b'D' | b'w' | b'W' | b's' | b'S' => {
                self.skip(2);
                return Ok(Element::Class(Set::class(name)));
            }
            // Ends of words, to others.
            b'<' | b'>' => return Err(RegexFault::Escape),
            sign if sign.is_ascii_punctuation() => sign,
            _ => return Err(RegexFault::Escape),
        };
        self.skip(2);
        Ok(Element::Byte(byte))
    }

    fn set(&mut self) -> Result<Set, RegexFault> {
        let opened = self.at;
        self.skip(1);
        let others = self.eat(b"^");
        let mut set = Set::EMPTY;
        let begun = self.at;
        loop {
            match (self.peek(), self.peek_at(1)) {
                (None, _) => {
                    self.at = opened;
                    return Err(RegexFault::Set);
                }
                (Some(b']'), _) if self.at == begun => return Err(RegexFault::Set),
                (Some(b']'), _) => break,
                (Some(b'['), _) => return Err(RegexFault::Unescaped),
                // Operators on sets, to others.
                (Some(b'&'), Some(b'&')) | (Some(b'~'), Some(b'~')) | (Some(b'-'), Some(b'-')) => {
                    return Err(RegexFault::Unescaped);
                }
                (Some(b'-'), Some(b']')) => {}
                (Some(b'-'), _) if self.at != begun => return Err(RegexFault::Unescaped),
                (Some(_), _) => {}
            }
            let element = self.element()?;
            let range = self.peek() == Some(b'-') && self.peek_at(1) != Some(b']');
            match element {
                Element::Class(class) if !range => set.unite(&class),
                Element::Byte(byte) if !range => set.add(byte),
                Element::Class(_) => return Err(RegexFault::Range),
                Element::Byte(low) => {
                    self.skip(1);
                    if self.peek() == Some(b'-') || self.peek() == Some(b'[') {
                        return Err(RegexFault::Unescaped);
                    }
                    match self.element()? {
                        Element::Byte(high) if low <= high => {
                            (low..=high).for_each(|byte| set.add(byte));
                        }
                        Element::Byte(_) | Element::Class(_) => return Err(RegexFault::Range),
                    }
                }
            }
        }
        self.skip(1);
        let set = self.both_cases(set);
        Ok(if others { set.others() } else { set })
    }

    fn both_cases(&self, set: Set) -> Set {
        if self.fold { set.both_cases() } else { set }
    }

    /// A new position that takes the bytes of a set.
    fn position(&mut self, set: &Set) -> Result<Part, RegexFault> {
        let start = self.used;
        let bit = 1_u64.checked_shl(start).ok_or(RegexFault::TooLong)?;
        self.used = start.saturating_add(1);
        for (byte, takes) in (0..=u8::MAX).zip(&mut self.regex.takes) {
            if set.has(byte) {
                *takes |= bit;
            }
        }
        Ok(Part {
            start,
            first: bit,
            last: bit,
            nullable: false,
        })
    }

    fn repetition(&mut self, part: Part) -> Result<Part, RegexFault> {
        let (least, most) = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => self.count()?,
            Some(_) | None => return Ok(part),
        };
        self.skip(1);
        // Which of several matches is found is nobody's question.
        self.eat(b"?");
        if let Some(b'*' | b'+' | b'?' | b'{') = self.peek() {
            return Err(RegexFault::Repetition);
        }
        self.repeat(part, least, most)
    }

    /// The count in braces; stays on the closing brace.
    fn count(&mut self) -> Result<(u32, Option<u32>), RegexFault> {
        let opened = self.at;
        self.skip(1);
        let least = self.number();
        let most = if self.eat(b",") {
            match self.peek() {
                Some(b'}') => Some(None),
                Some(_) | None => self.number().map(Some),
            }
        } else {
            least.map(Some)
        };
        match (least, most, self.peek()) {
            (Some(least), Some(most), Some(b'}')) if most.is_none_or(|most| least <= most) => {
                Ok((least, most))
            }
            (_, _, _) => {
                self.at = opened;
                Err(RegexFault::Count)
            }
        }
    }

    fn number(&mut self) -> Option<u32> {
        let begun = self.at;
        let mut number = 0_u32;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number
                .checked_mul(10)?
                .checked_add(u32::from(digit.wrapping_sub(b'0')))
                .filter(|n| *n <= 1000)?;
            self.skip(1);
        }
        (self.at > begun).then_some(number)
    }

    /// Writes a repetition out. `part` was just made, so its positions are the
    /// last ones, and no arrow leads out of it.
    fn repeat(&mut self, part: Part, least: u32, most: Option<u32>) -> Result<Part, RegexFault> {
        let len = self.used.saturating_sub(part.start);
        if len == 0 {
            return Ok(part);
        }
        let copies = most.unwrap_or(least.max(1));
        if copies == 0 {
            return Ok(self.erase(part));
        }
        let more = len.saturating_mul(copies.saturating_sub(1));
        let used = self.used.saturating_add(more);
        if used as usize > POSITIONS_MAX {
            return Err(RegexFault::TooLong);
        }
        for copy in 1..copies {
            self.copy(part, len, len.saturating_mul(copy));
        }
        self.used = used;
        let mut all = Part {
            start: part.start,
            first: 0,
            last: 0,
            nullable: true,
        };
        for copy in 0..copies {
            let by = len.saturating_mul(copy);
            let mut next = Part {
                start: part.start.saturating_add(by),
                first: left(part.first, by),
                last: left(part.last, by),
                nullable: part.nullable || copy >= least,
            };
            if most.is_none() && copy.saturating_add(1) == copies {
                self.lead(next.last, next.first);
                next.nullable |= least == 0;
            }
            all = self.join(all, next);
        }
        Ok(all)
    }

    /// Copies the positions of a part that has `len` of them, `by` further on.
    fn copy(&mut self, part: Part, len: u32, by: u32) {
        let own = positions(part.start, len);
        for takes in &mut self.regex.takes {
            *takes |= left(*takes & own, by);
        }
        for position in ones(own) {
            let next = super::at(&self.regex.follow, position);
            let copy = position.saturating_add(by as usize);
            if let Some(follow) = self.regex.follow.get_mut(copy) {
                *follow = left(next, by);
            }
        }
    }

    /// Takes the last positions back: what is repeated no time is nothing.
    fn erase(&mut self, part: Part) -> Part {
        let own = positions(part.start, self.used.saturating_sub(part.start));
        for takes in &mut self.regex.takes {
            *takes &= !own;
        }
        for position in ones(own) {
            if let Some(follow) = self.regex.follow.get_mut(position) {
                *follow = 0;
            }
        }
        self.used = part.start;
        Part {
            start: part.start,
            first: 0,
            last: 0,
            nullable: true,
        }
    }

    /// One part after the other.
    fn join(&mut self, before: Part, after: Part) -> Part {
        self.lead(before.last, after.first);
        let through = |is: bool, bits: u64| if is { bits } else { 0 };
        Part {
            start: before.start,
            first: before.first | through(before.nullable, after.first),
            last: after.last | through(after.nullable, before.last),
            nullable: before.nullable && after.nullable,
        }
    }

    /// Arrows from each of `from` to all of `to`.
    fn lead(&mut self, from: u64, to: u64) {
        for position in ones(from) {
            if let Some(follow) = self.regex.follow.get_mut(position) {
                *follow |= to;
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<u8> {
        self.pattern.get(self.at.saturating_add(ahead)).copied()
    }

    const fn skip(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn eat(&mut self, word: &[u8]) -> bool {
        let there = self
            .pattern
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word));
        if there {
            self.skip(word.len());
        }
        there
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// A word's bits from `start` on, `len` of them.
fn positions(start: u32, len: u32) -> u64 {
    let ones = u64::MAX
        .checked_shr(u64::BITS.saturating_sub(len))
        .unwrap_or(0);
    left(ones, start)
}
