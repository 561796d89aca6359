//! The keys of a `check` that say what its verdicts lead to, beyond rise and
//! fall, and how its times stretch.

use super::scalar::Shown;
use super::section::{At, Notes, Section};
use super::value::wrong_type;
use std::time::Duration;
use trunnion_core::check::{CheckPolicy, HealthState};

/// Among the keys of a check.
pub(super) const DAMPING_KEYS: &[&str] = &["falls", "half_life"];

/// As far as they are there.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    initially: Option<At<HealthState>>,
    backoff_percent: Option<At<u16>>,
    backoff_max: Option<At<Duration>>,
    jitter_percent: Option<At<u8>>,
    damping: Option<At<Damping>>,
}

#[derive(Clone, Copy, Debug)]
struct Damping {
    falls: u8,
    half_life: Duration,
}

/// A factor above which even the first wait is no wait but an end.
const BACKOFF_MAX_PERCENT: u16 = 1_000;
const JITTER_MAX_PERCENT: u8 = 50;
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

impl Course {
    pub fn read(section: &Section<'_>, notes: &mut Notes) -> Self {
        const STATES: &[(&str, HealthState)] =
            &[("up", HealthState::Up), ("down", HealthState::Down)];
        Self {
            initially: section.choice("initially", STATES, notes),
            backoff_percent: backoff(section, notes),
            backoff_max: section.duration("backoff_max", Duration::from_millis(10)..=DAY, notes),
            jitter_percent: section.text("jitter", percent, notes),
            damping: damping(section, notes),
        }
    }

    /// These keys, and where one is missing, the service's.
    pub fn over(self, service: &Self) -> Self {
        let Self {
            initially,
            backoff_percent,
            backoff_max,
            jitter_percent,
            damping,
        } = self;
        Self {
            initially: initially.or_else(|| service.initially.clone()),
            backoff_percent: backoff_percent.or_else(|| service.backoff_percent.clone()),
            backoff_max: backoff_max.or_else(|| service.backoff_max.clone()),
            jitter_percent: jitter_percent.or_else(|| service.jitter_percent.clone()),
            damping: damping.or_else(|| service.damping.clone()),
        }
    }

    /// The rules between these keys.
    pub fn relations(&self, down_interval: Duration, notes: &mut Notes) {
        let Some(max) = &self.backoff_max else {
            return;
        };
        if self
            .backoff_percent
            .as_ref()
            .is_none_or(|at| at.value <= 100)
        {
            notes.error(
                &max.span,
                "`backoff_max` has no effect: intervals do not grow",
                "remove it, or add backoff = 2.0",
            );
        } else if max.value < down_interval {
            notes.error(
                &max.span,
                format!(
                    "`backoff_max` {} is less than the interval it would grow from",
                    Shown(max.value)
                ),
                format!("write \"{}\" or more", Shown(down_interval)),
            );
        }
    }

    /// Whether these keys change what the rules are about.
    pub const fn stretches(&self) -> bool {
        self.backoff_percent.is_some() || self.backoff_max.is_some()
    }

    pub fn policy(&self) -> CheckPolicy {
        let ms = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let default = CheckPolicy::DEFAULT;
        let value =
            |at: &Option<At<Duration>>, default| at.as_ref().map_or(default, |at| ms(at.value));
        let damping = self.damping.as_ref().map(|at| at.value);
        CheckPolicy {
            initial: self
                .initially
                .as_ref()
                .map_or(default.initial, |at| at.value),
            backoff_percent: self
                .backoff_percent
                .as_ref()
                .map_or(default.backoff_percent, |at| at.value),
            backoff_max_ms: value(&self.backoff_max, default.backoff_max_ms),
            jitter_percent: self
                .jitter_percent
                .as_ref()
                .map_or(default.jitter_percent, |at| at.value),
            flap_falls: damping.map_or(default.flap_falls, |d| d.falls),
            flap_half_life_ms: damping.map_or(default.flap_half_life_ms, |d| ms(d.half_life)),
            // For the probe to say.
            expiry_warning_s: default.expiry_warning_s,
        }
    }
}

/// `backoff = 2.0`, `backoff = 2`.
fn backoff(section: &Section<'_>, notes: &mut Notes) -> Option<At<u16>> {
    let (key, value) = section.raw("backoff")?;
    let written = value.get_ref();
    let number = written.as_float().map(|float| float.as_str().to_owned());
    let number = number.or_else(|| written.as_integer().map(|n| n.to_string()));
    let Some(number) = number else {
        wrong_type(key, value, "a number", "write backoff = 2.0", notes);
        return None;
    };
    let factor = number.replace('_', "").parse::<f64>().ok();
    let percent = factor.map(|factor| (factor * 100.0).round());
    let percent = percent.filter(|p| (100.0..=f64::from(BACKOFF_MAX_PERCENT)).contains(p));
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 100 and 1000, just looked at"
    )]
    let percent = percent.map(|percent| percent as u16);
    if percent.is_none() {
        notes.error(
            &value.span(),
            format!("`backoff` cannot be {number}"),
            "write a factor from 1.0 to 10.0",
        );
    }
    percent.map(|value_| At {
        value: value_,
        span: value.span(),
    })
}

fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').and_then(|n| n.trim().parse().ok());
    number
        .filter(|n| *n <= JITTER_MAX_PERCENT)
        .ok_or_else(|| format!("write \"0%\" to \"{JITTER_MAX_PERCENT}%\""))
}

/// `damping = { falls = 5, half_life = "60s" }`.
fn damping(section: &Section<'_>, notes: &mut Notes) -> Option<At<Damping>> {
    let inner = Section::of("damping", section.raw("damping")?, DAMPING_KEYS, notes)?;
    let falls: Option<At<u8>> = inner.integer("falls", 2..=100, notes);
    if !inner.has("falls") {
        inner.missing("falls", "falls = 5", notes);
    }
    let half_life = inner.duration("half_life", Duration::from_secs(1)..=HOUR, notes);
    let default = CheckPolicy::DEFAULT.flap_half_life();
    Some(At {
        value: Damping {
            falls: falls?.value,
            half_life: half_life.map_or(default, |at| at.value),
        },
        span: inner.span,
    })
}
