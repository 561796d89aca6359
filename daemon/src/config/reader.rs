//! Reading a file piece by piece, and again: a document of a hundred thousand
//! rows never stands in memory as a tree, and a service that is written as it
//! was is not read a second time.
//!
//! Here is only the way of a file without errors. Any other is read as a whole,
//! which says what is wrong with it.

use super::mistake::{Note, Severity};
use super::pieces::{Pieces, cut};
use super::section::{Notes, Section};
use super::service::{ServiceConfig, ServiceRead};
use super::track::{self, TrackRead};
use super::{
    Beside, Config, Errors, ROOT_KEYS, Refused, errors, read_beside_services, relate, sync,
};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use toml::de::DeTable;

/// Reads a config file, any number of times.
#[derive(Debug, Default)]
pub struct Reader {
    keys: [RandomState; 2],
    seen: HashMap<Print, Seen>,
}

/// What a piece is known by: 128 bits under keys nobody knows.
type Print = [u64; 2];

/// A piece that was read without an error.
#[derive(Clone, Debug)]
struct Seen {
    service: Arc<ServiceConfig>,
    /// Whether its name is written.
    named: bool,
    /// Backends written.
    backends: usize,
    /// Warnings; spans are in the piece.
    notes: Vec<Note>,
}

impl Reader {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`Refused::Unread`] when it cannot be read, [`Refused::Wrong`] with
    /// every mistake in it.
    pub fn load(&mut self, path: &Path) -> Result<Config, Refused> {
        let file = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => self.parse_bytes(&bytes, &file).map_err(Refused::Wrong),
            Err(error) => Err(Refused::Unread { file, error }),
        }
    }

    fn parse_bytes(&mut self, bytes: &[u8], file: &str) -> Result<Config, Errors> {
        match str::from_utf8(bytes) {
            Ok(text) => self.parse(text, file),
            Err(_) => Config::parse_bytes(bytes, file),
        }
    }

    /// Reads a file's text; `file` is its name in messages.
    ///
    /// # Errors
    /// Every mistake in it, in the order of its lines.
    pub fn parse(&mut self, text: &str, file: &str) -> Result<Config, Errors> {
        match self.pieces(text, file) {
            Some(config) => Ok(config),
            None => Config::whole(text, file),
        }
    }

    /// The config of a file whose pieces have no error; otherwise nothing.
    fn pieces(&mut self, text: &str, file: &str) -> Option<Config> {
        let Pieces { services, rest } = cut(text);
        let mut notes = Notes::default();
        let joined = Joined::new(text, &rest);
        let (mut config, tracks) = read_rest(&joined, services.len(), &mut notes)?;
        let mut seen = HashMap::with_capacity(services.len());
        let mut names = HashSet::new();
        let mut backends = 0;
        config.services.reserve_exact(services.len());
        for piece in services {
            let start = piece.start;
            let text = &text[piece];
            let print = self.keys.each_ref().map(|key| key.hash_one(text));
            let read = match self.seen.get(&print) {
                Some(read) => read.clone(),
                None => read_service(text)?,
            };
            let moved = read.notes.iter().cloned();
            notes
                .list
                .extend(moved.map(|note| note.moved(|at| at + start)));
            backends += read.backends;
            if read.named && !names.insert(read.service.name.clone()) {
                return None;
            }
            config.services.push(Arc::clone(&read.service));
            seen.insert(print, read);
        }
        config.services.sort_by_key(|service| service.service.key);
        let keys = || config.services.iter().map(|service| service.service.key);
        let twice = keys().zip(keys().skip(1)).any(|(a, b)| a == b);
        if twice || backends > config.limits.backends as usize {
            return None;
        }
        let talk = relate::script_bytes(config.services.iter().map(|service| &**service));
        if talk > config.limits.probe_bytes as usize {
            return None;
        }
        if config.ipvs.sync.is_some() && config.services.iter().any(|s| sync::excludes(s)) {
            return None;
        }
        let mut missing = Notes::default();
        track::services(&tracks, &config.services, &mut missing);
        if !missing.list.is_empty() {
            return None;
        }
        if !notes.list.is_empty() {
            config.warnings = errors(text, file, notes.list).mistakes;
        }
        self.seen = seen;
        Some(config)
    }
}

/// All but the services, of which there are so many.
fn read_rest(
    rest: &Joined,
    services: usize,
    notes: &mut Notes,
) -> Option<(Config, Vec<TrackRead>)> {
    let (document, errors) = DeTable::parse_recoverable(&rest.text);
    let root = Section::new("the file", document.get_ref(), 0..0, ROOT_KEYS, notes);
    if services == 0 || !errors.is_empty() || root.has("service") {
        return None;
    }
    let Beside {
        config,
        limits,
        instances,
        tracks,
    } = read_beside_services(&root, notes);
    relate::limits(&limits, &instances, &[], notes);
    if refused(notes) || services > limits.limits.services as usize {
        return None;
    }
    for note in &mut notes.list {
        *note = note.clone().moved(|at| rest.place(at));
    }
    Some((config, tracks))
}

/// One service by itself.
fn read_service(text: &str) -> Option<Seen> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() || document.get_ref().len() != 1 {
        return None;
    }
    let mut notes = Notes::default();
    let root = Section::new("the file", document.get_ref(), 0..0, ROOT_KEYS, &mut notes);
    let items = root.items("service", "[[service]]", &mut notes);
    let &[raw] = items.as_slice() else {
        return None;
    };
    let read = ServiceRead::read(raw, &mut notes)?;
    if refused(&notes) {
        return None;
    }
    Some(Seen {
        service: Arc::new(read.config),
        named: read.named.is_some(),
        backends: read.backends_written.len(),
        notes: notes.list,
    })
}

fn refused(notes: &Notes) -> bool {
    notes
        .list
        .iter()
        .any(|note| note.severity == Severity::Error)
}

/// The rest of a file as one text, and where its parts come from.
struct Joined {
    text: String,
    /// Where each part begins: here, there.
    parts: Vec<(usize, usize)>,
}

impl Joined {
    fn new(text: &str, rest: &[Range<usize>]) -> Self {
        let mut joined = Self {
            text: String::new(),
            parts: Vec::with_capacity(rest.len()),
        };
        for part in rest {
            joined.parts.push((joined.text.len(), part.start));
            joined.text.push_str(&text[part.clone()]);
        }
        joined
    }

    /// The place in the file of a place here.
    fn place(&self, at: usize) -> usize {
        let part = self.parts.partition_point(|(here, _)| *here <= at);
        let last = part.checked_sub(1).and_then(|part| self.parts.get(part));
        last.map_or(at, |(here, there)| at - here + there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write;

    const FILES: [&str; 3] = [
        include_str!("../../../docs/examples/full.toml"),
        include_str!("../../../docs/examples/pair.toml"),
        ODD,
    ];

    /// What a cut by lines could stumble over.
    const ODD: &str = r#"
[[service]]
name = "a" # [[service]]
address = "192.0.2.10:80"
forward = "masq"
backends = [
  "10.0.0.1", # [node]
  { address = "10.0.0.2:8080", weight = 70000 },
]
  [service.check]
  type = "tcp"

[ipvs]
own = "declared"

 [[ service ]]
 address = "192.0.2.10:81"
  [[ service . backend ]]
  address = "10.0.0.1"

[[vrrp]]
interface = "eth0"
vrid = 1
addresses = ["192.0.2.10/24"]

[[service]]
fwmark = 7
"#;

    fn pieced(text: &str) -> Option<Config> {
        Reader::default().pieces(text, "t")
    }

    #[test]
    fn pieces_make_the_whole() {
        for text in FILES {
            let whole = Config::whole(text, "t").unwrap();
            assert_eq!(pieced(text).unwrap(), whole, "{text}");
        }
        assert_eq!(Config::whole(ODD, "t").unwrap().warnings.len(), 2);
    }

    #[test]
    fn what_only_the_whole_shows_is_left_to_it() {
        let service = |address: &str, name: &str, backend: &str| {
            format!("[[service]]\naddress = \"{address}\"\n{name}\nbackends = [\"{backend}\"]\n")
        };
        let one = service("192.0.2.1:80", "name = \"x\"", "10.0.0.1");
        for (head, other) in [
            ("", service("192.0.2.1:80", "", "10.0.0.1")),
            ("", service("192.0.2.2:80", "name = \"x\"", "10.0.0.1")),
            (
                "[limits]\nservices = 1\n",
                service("192.0.2.2:80", "", "10.0.0.1"),
            ),
            (
                "[limits]\nbackends = 1\n",
                service("192.0.2.2:80", "", "10.0.0.1"),
            ),
            ("service = []\n", String::new()),
            ("[node]\n", "[node]\n".to_owned()),
            (
                "[node]\n",
                "[service]\naddress = \"192.0.2.2:80\"\n".to_owned(),
            ),
            (
                "",
                "[[\"service\"]]\naddress = \"192.0.2.1:80\"\n".to_owned(),
            ),
        ] {
            let text = format!("{head}{one}{other}");
            assert_eq!(pieced(&text), None, "{text}");
        }
    }

    /// As many services, each with so many backends.
    fn large(services: usize, backends: usize) -> String {
        let mut text = format!("[limits]\nbackends = {}\n", services * backends);
        for service in 0..services {
            let (high, low) = (service >> 8, service & 255);
            let _ = write!(
                text,
                "[[service]]\naddress = \"10.1.{high}.{low}:80\"\nbackends = ["
            );
            for backend in 0..backends {
                let _ = write!(text, "\"10.2.{low}.{backend}\", ");
            }
            text.push_str("]\n");
        }
        text
    }

    #[test]
    fn a_service_as_it_was_is_not_read_again() {
        let mut reader = Reader::default();
        let text = large(300, 3);
        let before = reader.parse(&text, "t").unwrap();
        // Others move, one changes, one goes.
        let edited = text.replacen("10.2.7.1", "10.2.7.100", 1).replacen(
            "[[service]]",
            "\n[[service]] # the first\n",
            1,
        );
        let (kept, gone) = edited.rsplit_once("[[service]]").unwrap();
        assert!(gone.contains("10.1.1.43:80"));
        let after = reader.parse(kept, "t").unwrap();
        assert_eq!(after, Config::whole(kept, "t").unwrap());
        let again = |service: &&Arc<ServiceConfig>| {
            let mut old = before.services.iter();
            !old.any(|old| Arc::ptr_eq(old, service))
        };
        // The first one, whose comment changed, and the one that changed.
        assert_eq!(after.services.iter().filter(again).count(), 2);
        // A file with an error changes nothing of what is known.
        reader.parse(&format!("{text}x"), "t").unwrap_err();
        let same = reader.parse(kept, "t").unwrap();
        let pairs = same.services.iter().zip(&after.services);
        assert!(pairs.into_iter().all(|(a, b)| Arc::ptr_eq(a, b)));
    }

    proptest! {
        /// Whatever is done to a file: where its pieces are read, they are what
        /// the whole is.
        #[test]
        fn a_damaged_file_is_never_read_as_another(
            file in 0..FILES.len(),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..40_usize), 0..3),
            word in prop::sample::select(vec![
                "", "\n", "[[service]]\n", "\"", "\"\"\"", "\'\'\'", "[", "]", "#", "[node]\n", "= [\n", "service.a = 1\n",
            ]),
            at in any::<prop::sample::Index>(),
        ) {
            let mut text = FILES[file].to_owned();
            for (cut, len) in cuts {
                let from = text.floor_char_boundary(cut.index(text.len()));
                let to = text.floor_char_boundary((from + len).min(text.len()));
                text.replace_range(from..to, "");
            }
            let at = text.floor_char_boundary(at.index(text.len()));
            text.insert_str(at, word);
            if let Some(pieced) = pieced(&text) {
                prop_assert_eq!(Ok(pieced), Config::whole(&text, "t"));
            }
        }
    }
}
