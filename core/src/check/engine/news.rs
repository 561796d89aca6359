//! What the owner has not heard yet: changes of health, what targets say of their
//! weight, and certificates that expire soon.

use super::storage::Use;
use super::{CheckId, Engine, Slot, SocketId};
use crate::check::probe::{Script, Scripts};
use crate::check::{Advised, Certificate, HealthState, Report, Share};

impl Engine<'_> {
    /// A target whose health, or whose advice about its weight, is not what the
    /// owner heard last, or whose certificate expires soon, oldest first. Changes that cancelled out before the
    /// owner asked are not told. Call after every `handle_*`, until `None`.
    pub fn poll_change(&mut self) -> Option<Report> {
        let index = self.news.pop(self.slots, Slot::news)?;
        let slot = self.slots.get_mut(index as usize)?;
        let previous = slot.told;
        let aside = self.asides.of(CheckId(index), slot);
        let certificate = aside.certificate.filter(|_| slot.soon != slot.told_soon);
        slot.told_soon = slot.soon;
        let advised = (!slot.advice_told).then_some(aside.advised);
        slot.told = slot.health.state();
        slot.advice_told = true;
        let fell = slot.told == HealthState::Down && previous != HealthState::Down;
        Some(Report {
            id: CheckId(index),
            target: slot.target(),
            state: slot.told,
            previous,
            reason: match slot.told {
                HealthState::Down => slot.reason,
                HealthState::Up | HealthState::Unknown => None,
            },
            latency: slot.latency(),
            held: fell && slot.held,
            advised,
            certificate,
        })
    }

    /// What a target said of its weight last.
    #[must_use]
    pub fn advised(&self, id: CheckId) -> Advised {
        self.running(id)
            .map_or(Advised::default(), |slot| self.asides.of(id, slot).advised)
    }

    /// The check that a socket is in use for.
    #[must_use]
    pub fn probed_by(&self, socket: SocketId) -> Option<CheckId> {
        match self.sockets.get(socket.index())?.use_ {
            Use::Probe(id) => Some(id),
            Use::Free | Use::Kept(_) | Use::Closing => None,
        }
    }

    /// How soon the certificate is named that the target of a probe shows, seconds.
    #[must_use]
    pub fn expiry_warning_s(&self, socket: SocketId) -> u32 {
        let probed = self.probed_by(socket).and_then(|id| self.config(id));
        probed.map_or(0, |config| config.policy.expiry_warning_s)
    }

    /// The certificate that a target has shown in its handshake, whatever comes of
    /// the check.
    pub fn handle_certificate(&mut self, socket: SocketId, certificate: Certificate) {
        let Some(id) = self.probed_by(socket) else {
            return self.stray();
        };
        if let Some(slot) = self.slots.get_mut(id.index())
            && let Some(aside) = self.asides.of_mut(id, slot)
        {
            aside.certificate = Some(certificate);
            slot.soon = certificate.soon;
            self.note_news(id);
        }
    }

    /// A target says something of its weight: `take` makes the new from the old
    /// ([`Advised::with`], [`Advised::with_weight`]). To be called before the
    /// verdict of the same probe.
    pub fn handle_advice(&mut self, id: CheckId, take: impl FnOnce(Advised) -> Advised) {
        if self.running(id).is_some()
            && let Some(slot) = self.slots.get_mut(id.index())
            && let Some(aside) = self.asides.of_mut(id, slot)
        {
            let before = aside.advised;
            aside.advised = take(before);
            slot.advice_told &= aside.advised == before;
            self.note_news(id);
        }
    }

    /// Whether a check will say what its target's weight is, and has not yet: from
    /// then on its share is [`Share::Presumed`], and the first answer is news.
    pub fn presume_advice(&mut self, id: CheckId) -> bool {
        let scripts = self.scripts.get(..self.scripts_len).unwrap_or_default();
        let Some(slot) = self.slots.get_mut(id.index()) else {
            return false;
        };
        let config = slot.config(&self.manners);
        let words = config.kind.script().and_then(|script| {
            let words = Scripts::from_words(scripts).get(script)?;
            Script::read(words, config.target)
        });
        if slot.last.is_some() || !words.is_some_and(|script| script.advises()) {
            return false;
        }
        slot.advice_told = true;
        let Some(aside) = self.asides.of_mut(id, slot) else {
            return false;
        };
        aside.advised.share = Share::Presumed;
        true
    }

    /// Puts a check among those the owner must hear of, or takes it from there.
    pub(super) fn note_news(&mut self, id: CheckId) {
        let Some(slot) = self.slots.get(id.index()) else {
            return;
        };
        if slot.is_told() {
            self.news.remove(self.slots, id.0, Slot::news);
        } else {
            self.news.push(self.slots, id.0, Slot::news);
        }
    }
}
