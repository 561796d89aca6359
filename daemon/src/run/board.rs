//! What was found out about things tracked, shared with the HA loop: one word
//! for each, and a version that says when to look. Many write, one reads,
//! nobody waits; only the latest matters, so nothing overflows.

use crate::config::{Config, TrackSource};
use mio::Waker;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use trunnion_core::director::ha::TrackState;

#[derive(Debug)]
struct Board {
    words: Box<[AtomicU32]>,
    version: AtomicU32,
}

/// Where states are written.
#[derive(Clone, Debug)]
pub struct BoardIn {
    board: Arc<Board>,
    waker: Arc<Waker>,
}

/// Where the HA loop reads them.
#[derive(Debug)]
pub struct BoardOut {
    board: Arc<Board>,
    version: u32,
}

/// A board of so many cells, all unknown. `waker` is the reader's.
#[must_use]
pub fn board(cells: usize, waker: Arc<Waker>) -> (BoardIn, BoardOut) {
    let words = (0..cells).map(|_| AtomicU32::new(TrackState::Unknown.word()));
    let board = Arc::new(Board {
        words: words.collect(),
        version: AtomicU32::new(0),
    });
    let put = BoardIn {
        board: Arc::clone(&board),
        waker,
    };
    (put, BoardOut { board, version: 0 })
}

impl BoardIn {
    /// Writes a state and wakes the reader, if it is another than before.
    pub fn put(&self, cell: u16, state: TrackState) {
        let Some(word) = self.board.words.get(usize::from(cell)) else {
            return;
        };
        if word.swap(state.word(), Ordering::AcqRel) != state.word() {
            self.board.version.fetch_add(1, Ordering::Release);
            // Fails only when the loop's poller is gone, and the loop with it.
            let _ = self.waker.wake();
        }
    }
}

impl BoardOut {
    /// Tells all states, if any was written since the last time.
    pub fn take(&mut self, mut tell: impl FnMut(u16, TrackState)) {
        let version = self.board.version.load(Ordering::Acquire);
        if std::mem::replace(&mut self.version, version) == version {
            return;
        }
        for (cell, word) in (0..).zip(&self.board.words) {
            tell(cell, TrackState::from_word(word.load(Ordering::Acquire)));
        }
    }
}

/// Which cell is whose. One that a reload keeps keeps its cell, and what is
/// known with it.
#[derive(Debug)]
pub struct Cells {
    of: Vec<Option<TrackSource>>,
}

/// No cell: an interface, which the HA half sees itself.
pub const NO_CELL: u16 = u16::MAX;

impl Cells {
    /// So many cells, nobody's: twice what the limits say, as a reload needs
    /// new ones before it gives up the old.
    #[must_use]
    pub fn new(cells: usize) -> Self {
        Self {
            of: vec![None; cells],
        }
    }

    /// The cell of each of the config's tracks, in their order. Of one that is new
    /// nothing is known, whatever was still written into its cell after it was
    /// given up.
    pub fn assign(&mut self, config: &Config, board: &BoardIn) -> Vec<u16> {
        let each = config.tracks.iter();
        each.map(|track| self.cell(&track.source, board)).collect()
    }

    fn cell(&mut self, source: &TrackSource, board: &BoardIn) -> u16 {
        if matches!(source, TrackSource::Interface(_)) {
            return NO_CELL;
        }
        let known = self.of.iter().position(|of| of.as_ref() == Some(source));
        let free = || self.of.iter().position(Option::is_none);
        let Some(at) = known.or_else(free) else {
            return NO_CELL;
        };
        let cell = u16::try_from(at).unwrap_or(NO_CELL);
        if known.is_none() {
            self.of[at] = Some(source.clone());
            board.put(cell, TrackState::Unknown);
        }
        cell
    }

    /// Gives up the cells of what the config does not name.
    pub fn keep(&mut self, config: &Config, board: &BoardIn) {
        for (at, of) in (0..).zip(&mut self.of) {
            let named = |source: &TrackSource| config.tracks.iter().any(|t| t.source == *source);
            if of.take_if(|source| !named(source)).is_some() {
                board.put(at, TrackState::Unknown);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(tracks: &[&str]) -> Config {
        let mut text = String::from("[[service]]\naddress = \"192.0.2.1:80\"\nbackends = []\n");
        for path in tracks {
            text += &format!("[[track]]\nname = \"{path}\"\nfile = \"{path}\"\n");
        }
        text += "[[track]]\nname = \"uplink\"\ninterface = \"eth1\"\n";
        Config::parse(&text, "t").unwrap()
    }

    #[test]
    fn a_cell_stays_with_what_a_reload_keeps() {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (put, mut out) = board(4, Arc::new(waker));
        let mut cells = Cells::new(4);
        let first = config(&["/a", "/b"]);
        assert_eq!(cells.assign(&first, &put), [0, 1, NO_CELL]);
        put.put(1, TrackState::Value(7));
        let second = config(&["/c", "/b"]);
        // The old ones are still in use until the reload was taken.
        assert_eq!(cells.assign(&second, &put), [2, 1, NO_CELL]);
        cells.keep(&second, &put);
        // Whoever looked after the first of them writes once more.
        put.put(0, TrackState::Up);
        assert_eq!(cells.assign(&config(&["/d"]), &put), [0, NO_CELL]);
        let mut seen = Vec::new();
        out.take(|cell, state| seen.push((cell, state)));
        assert_eq!(seen.len(), 4);
        assert_eq!(seen[0], (0, TrackState::Unknown));
        assert_eq!(seen[1], (1, TrackState::Value(7)));
        out.take(|_, _| panic!("nothing is new"));
    }

    #[test]
    fn what_is_written_again_wakes_nobody() {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (put, mut out) = board(1, Arc::new(waker));
        put.put(0, TrackState::Up);
        out.take(|_, _| {});
        put.put(0, TrackState::Up);
        put.put(9, TrackState::Up);
        out.take(|_, _| panic!("nothing is new"));
    }
}
