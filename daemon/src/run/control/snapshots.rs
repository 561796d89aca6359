//! One pair of snapshots that goes round, however many ask. Not what an answer is
//! made of.

use crate::config::Limits;
use crate::run::answer::Taken;
use crate::run::snapshot::{HaSnapshot, LbSnapshot};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Where an answer goes.
type Asked = oneshot::Sender<Arc<Taken>>;

/// Questions for what the loops know. Whoever asks while the snapshots are with the
/// loops waits for their next round, so that what he is told was so after he asked.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    waiting: Vec<Asked>,
    /// For whom the snapshots are with the loops.
    asked: Vec<Asked>,
    ha: Option<Box<HaSnapshot>>,
    lb: Option<Box<LbSnapshot>>,
}

impl Snapshots {
    pub fn ask(&mut self, whom: Asked) {
        self.waiting.push(whom);
    }

    /// The snapshots to send round, if somebody waits for that and none are under way.
    pub fn begin(&mut self, limits: &Limits) -> Option<(Box<HaSnapshot>, Box<LbSnapshot>)> {
        if self.waiting.is_empty() || !self.asked.is_empty() {
            return None;
        }
        self.asked = std::mem::take(&mut self.waiting);
        Some((HaSnapshot::with_room(limits), LbSnapshot::with_room(limits)))
    }

    pub fn take_ha(&mut self, snapshot: Box<HaSnapshot>) {
        self.ha = Some(snapshot);
    }

    pub fn take_lb(&mut self, snapshot: Box<LbSnapshot>) {
        self.lb = Some(snapshot);
    }

    /// Both snapshots, once both are back.
    pub fn both(&mut self) -> Option<(Box<HaSnapshot>, Box<LbSnapshot>)> {
        match (self.ha.take(), self.lb.take()) {
            (Some(ha), Some(lb)) => Some((ha, lb)),
            (ha, lb) => {
                (self.ha, self.lb) = (ha, lb);
                None
            }
        }
    }

    /// Answers all that asked for this round.
    pub fn answer(&mut self, taken: Taken) {
        let taken = Arc::new(taken);
        for asked in self.asked.drain(..) {
            // Whoever asked may have gone.
            let _ = asked.send(Arc::clone(&taken));
        }
    }

    /// A loop is too far behind to be asked: dropping the questions says so.
    pub fn give_up(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use trunnion_core::time::Instant;

    fn ask(snapshots: &mut Snapshots) -> oneshot::Receiver<Arc<Taken>> {
        let (whom, answer) = oneshot::channel();
        snapshots.ask(whom);
        answer
    }

    fn answer(snapshots: &mut Snapshots, config: &Arc<Config>) {
        let (ha, lb) = snapshots.both().unwrap();
        snapshots.answer(Taken {
            started: Instant::ZERO,
            file: String::new(),
            config: Arc::clone(config),
            settings: Vec::new(),
            names: (Vec::new(), Vec::new()),
            guardian_deaths: 0,
            runner_deaths: 0,
            ha,
            lb,
        });
    }

    #[test]
    fn however_many_ask_one_pair_goes_round() {
        let config = Arc::new(Config::parse("", "t").unwrap());
        let limits = config.limits;
        let mut snapshots = Snapshots::default();
        assert!(snapshots.begin(&limits).is_none(), "nobody asks");
        let mut first: Vec<_> = (0..3).map(|_| ask(&mut snapshots)).collect();
        let (ha, lb) = snapshots.begin(&limits).unwrap();
        // These ask too late for what is being found out.
        let mut second: Vec<_> = (0..3).map(|_| ask(&mut snapshots)).collect();
        assert!(snapshots.begin(&limits).is_none(), "there is one pair");
        snapshots.take_lb(lb);
        assert!(snapshots.both().is_none());
        snapshots.take_ha(ha);
        answer(&mut snapshots, &config);
        let told: Vec<_> = first.iter_mut().map(|it| it.try_recv().unwrap()).collect();
        assert!(told.iter().all(|it| Arc::ptr_eq(it, &told[0])));
        assert!(second.iter_mut().all(|it| it.try_recv().is_err()));
        let (ha, lb) = snapshots.begin(&limits).unwrap();
        snapshots.take_ha(ha);
        snapshots.take_lb(lb);
        answer(&mut snapshots, &config);
        assert!(second.iter_mut().all(|it| it.try_recv().is_ok()));
        assert!(snapshots.begin(&limits).is_none(), "nobody asks any more");
    }
}
