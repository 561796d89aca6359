//! The timeline: what happened, on which node, when, and every check's figure
//! beside its bound; for the eye as it happens, for machines at the end.

use crate::lab::LabError;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A number that was measured, and what it may be.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Unit: `ms`, `%`, `requests`.
    pub unit: &'static str,
    /// What was seen.
    pub seen: f64,
    /// At most this, where there is a bound.
    pub at_most: Option<f64>,
    /// At least this, where there is one.
    pub at_least: Option<f64>,
}

impl Figure {
    /// A time, in milliseconds.
    #[must_use]
    pub fn time(seen: Duration) -> Self {
        Self::new("ms", seen.as_secs_f64() * 1000.0)
    }

    /// A number of something.
    #[must_use]
    pub fn new(unit: &'static str, seen: f64) -> Self {
        Self {
            unit,
            seen,
            at_most: None,
            at_least: None,
        }
    }

    /// With an upper bound.
    #[must_use]
    pub fn at_most(mut self, bound: f64) -> Self {
        self.at_most = Some(bound);
        self
    }

    /// With an upper bound that is a time.
    #[must_use]
    pub fn at_most_time(self, bound: Duration) -> Self {
        self.at_most(bound.as_secs_f64() * 1000.0)
    }

    /// With a lower bound that is a time.
    #[must_use]
    pub fn at_least_time(mut self, bound: Duration) -> Self {
        self.at_least = Some(bound.as_secs_f64() * 1000.0);
        self
    }

    /// Whether it keeps its bounds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.at_most.is_none_or(|bound| self.seen <= bound)
            && self.at_least.is_none_or(|bound| self.seen >= bound)
    }
}

#[derive(Debug)]
enum Kind {
    Step,
    Event,
    Check { pass: bool, wanted: String },
}

#[derive(Debug)]
struct Row {
    at: Duration,
    step: usize,
    node: String,
    text: String,
    kind: Kind,
    figure: Option<Figure>,
}

/// The timeline so far.
#[derive(Debug)]
pub struct Report {
    began: Instant,
    print: bool,
    step: usize,
    kernel: String,
    rows: Vec<Row>,
}

impl Report {
    /// An empty timeline that begins now; `print`: show it as it grows.
    #[must_use]
    pub fn new(print: bool) -> Self {
        let system = rustix::system::uname();
        let kernel = system.release().to_string_lossy().into_owned();
        Self {
            began: Instant::now(),
            print,
            step: 0,
            kernel,
            rows: Vec::new(),
        }
    }

    /// The kernel's release.
    #[must_use]
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// Begins a step.
    pub fn step(&mut self, number: usize, title: &str) {
        self.step = number;
        self.push("", title.to_owned(), Kind::Step, None);
    }

    /// Something happened.
    pub fn event(&mut self, node: &str, text: impl Into<String>) {
        self.push(node, text.into(), Kind::Event, None);
    }

    /// Something was checked: what was seen, what was wanted.
    pub fn check(
        &mut self,
        node: &str,
        pass: bool,
        seen: impl Into<String>,
        wanted: impl Into<String>,
    ) {
        let wanted = wanted.into();
        self.push(node, seen.into(), Kind::Check { pass, wanted }, None);
    }

    /// A number was measured: it passes when it keeps its bounds.
    pub fn measure(
        &mut self,
        node: &str,
        figure: Figure,
        seen: impl Into<String>,
        wanted: impl Into<String>,
    ) {
        let kind = Kind::Check {
            pass: figure.holds(),
            wanted: wanted.into(),
        };
        self.push(node, seen.into(), kind, Some(figure));
    }

    /// The lab, or the step, could not go on.
    pub fn broken(&mut self, error: &LabError) {
        let wanted = "the step to be played to its end";
        self.check("lab", false, error.to_string(), wanted);
    }

    fn push(&mut self, node: &str, text: String, kind: Kind, figure: Option<Figure>) {
        let row = Row {
            at: self.began.elapsed(),
            step: self.step,
            node: node.to_owned(),
            text,
            kind,
            figure,
        };
        if self.print {
            println!("{}", line(&row));
        }
        self.rows.push(row);
    }

    fn checks(&self) -> impl Iterator<Item = bool> {
        self.rows.iter().filter_map(|row| match row.kind {
            Kind::Check { pass, .. } => Some(pass),
            Kind::Step | Kind::Event => None,
        })
    }

    /// Whether something was checked, and everything that was checked holds.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks().count() > 0 && self.checks().all(|pass| pass)
    }

    /// Prints the last line: the verdict, and what failed once more.
    pub fn close(&self) {
        if !self.print {
            return;
        }
        let (all, failed) = (self.checks().count(), self.checks().filter(|p| !p).count());
        let took = self.began.elapsed().as_secs_f64();
        println!();
        if failed == 0 {
            println!(
                "{all} checks, all good, in {took:.0} s on Linux {}.",
                self.kernel
            );
            return;
        }
        println!(
            "{failed} of {all} checks FAILED, in {took:.0} s on Linux {}:",
            self.kernel
        );
        for row in &self.rows {
            if matches!(row.kind, Kind::Check { pass: false, .. }) {
                println!("{}", line(row));
            }
        }
    }

    /// The whole timeline for machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let timeline: Vec<Value> = self.rows.iter().map(as_json).collect();
        json!({
            "kernel": self.kernel,
            "seconds": self.began.elapsed().as_secs_f64(),
            "passed": self.passed(),
            "checks": self.checks().count(),
            "failed": self.checks().filter(|pass| !pass).count(),
            "timeline": timeline,
        })
    }
}

fn line(row: &Row) -> String {
    let seconds = row.at.as_secs_f64();
    let (node, text) = (&row.node, &row.text);
    match &row.kind {
        Kind::Step => format!("\n{}. {text}", row.step),
        Kind::Event => format!("{seconds:7.2}  {node:<7}       {text}"),
        Kind::Check { pass, wanted } => {
            let verdict = if *pass { "ok  " } else { "FAIL" };
            if text.contains('\n') {
                let text = text.trim_end();
                return format!(
                    "{seconds:7.2}  {node:<7} {verdict}  wanted {wanted}, but:\n        {text}"
                );
            }
            format!("{seconds:7.2}  {node:<7} {verdict}  {text:<58} | {wanted}")
        }
    }
}

fn as_json(row: &Row) -> Value {
    let mut value = json!({
        "at_ms": (row.at.as_secs_f64() * 1e6).round() / 1e3,
        "step": row.step,
        "text": row.text,
    });
    let mut set = |key: &str, field: Value| value[key] = field;
    if !row.node.is_empty() {
        set("node", json!(row.node));
    }
    match &row.kind {
        Kind::Step => set("kind", json!("step")),
        Kind::Event => set("kind", json!("event")),
        Kind::Check { pass, wanted } => {
            set("kind", json!("check"));
            set("pass", json!(pass));
            set("wanted", json!(wanted));
        }
    }
    if let Some(figure) = &row.figure {
        let mut numbers = json!({ "unit": figure.unit, "seen": figure.seen });
        if let Some(bound) = figure.at_most {
            numbers["at_most"] = json!(bound);
        }
        if let Some(bound) = figure.at_least {
            numbers["at_least"] = json!(bound);
        }
        set("figure", numbers);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_fails_the_whole_and_nothing_checked_is_no_success() {
        let mut report = Report::new(false);
        assert!(!report.passed());
        report.event("lb1", "Active");
        assert!(!report.passed());
        report.check("lb1", true, "a", "b");
        assert!(report.passed());
        report.broken(&LabError::new("no ip_vs"));
        assert!(!report.passed());
        report.check("lb1", true, "a", "b");
        assert!(!report.passed());
    }

    #[test]
    fn a_figure_passes_within_its_bounds() {
        let ms = Duration::from_millis;
        let figure = || Figure::time(ms(361)).at_least_time(ms(300));
        assert!(figure().holds());
        assert!(figure().at_most_time(ms(361)).holds());
        assert!(!figure().at_most_time(ms(360)).holds());
        assert!(!Figure::time(ms(299)).at_least_time(ms(300)).holds());
        assert!(!Figure::new("%", f64::INFINITY).at_most(10.0).holds());
    }

    #[test]
    fn machines_get_the_figures() {
        let mut report = Report::new(false);
        report.step(3, "The Active node dies");
        let figure = Figure::time(Duration::from_millis(341)).at_most(361.0);
        report.measure("client", figure, "gap 341 ms", "at most 361 ms");
        let json = report.json();
        assert_eq!(json["passed"], true);
        let row = &json["timeline"][1];
        assert_eq!(row["kind"], "check");
        assert_eq!(row["step"], 3);
        assert_eq!(row["figure"]["seen"], 341.0);
        assert_eq!(row["figure"]["at_most"], 361.0);
        assert_eq!(json["timeline"][0]["kind"], "step");
    }
}
