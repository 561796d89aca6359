//! What a benchmark found: rows of ours beside a peer's, each with its goal. A
//! table for people, and target/bench/NAME.json for what comes later. It
//! measures nothing.

use super::plot::Plot;
use crate::failure::{Failure, Result};
use crate::process;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a row is held to. Every metric is a cost: less is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// To nothing: it is there to be looked at.
    None,
    /// The peer takes at least this many times what we take.
    Times(f64),
    /// We take at most this many times what the peer takes.
    Within(f64),
    /// We take at most this much, in the metric's unit.
    AtMost(f64),
}

struct Row {
    metric: String,
    ours: f64,
    peer: Option<(String, f64)>,
    goal: Goal,
}

/// The rows of one run of a benchmark, and the machine it ran on.
pub struct Report {
    name: &'static str,
    machine: Vec<(String, String)>,
    rows: Vec<Row>,
}

impl Report {
    /// An empty report of the benchmark `name`, with what this machine says of
    /// itself.
    pub fn new(name: &'static str) -> Self {
        let mut report = Self {
            name,
            machine: Vec::new(),
            rows: Vec::new(),
        };
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let model = cpus.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == "model name").then(|| value.trim().to_owned())
        });
        report.about("cpu", &model.unwrap_or_else(|| "unknown".to_owned()));
        let count = cpus.lines().filter(|line| line.starts_with("processor"));
        report.about("cpus", &count.count().to_string());
        report.about("kernel", read("/proc/sys/kernel/osrelease").trim());
        // Who else was at work when it began: of a busy machine believe little.
        let load = read("/proc/loadavg");
        report.about("load", load.split(' ').next().unwrap_or("unknown"));
        let mut git = Command::new("git");
        git.current_dir(process::root())
            .args(["describe", "--always", "--dirty"]);
        let commit = process::stdout(&mut git).unwrap_or_default();
        report.about("commit", commit.trim());
        report
    }

    /// Says one thing more of the machine or of how it was measured.
    pub fn about(&mut self, what: &str, text: &str) {
        self.machine.push((what.to_owned(), text.to_owned()));
    }

    /// Adds ours beside a peer's. `metric` ends with its unit.
    pub fn row(&mut self, metric: &str, ours: f64, peer: &str, peer_value: f64, goal: Goal) {
        self.rows.push(Row {
            metric: metric.to_owned(),
            ours,
            peer: Some((peer.to_owned(), peer_value)),
            goal,
        });
    }

    /// Adds ours alone.
    pub fn alone(&mut self, metric: &str, ours: f64, goal: Goal) {
        self.rows.push(Row {
            metric: metric.to_owned(),
            ours,
            peer: None,
            goal,
        });
    }

    /// Writes a chart beside the JSON, as NAME-WHAT.svg.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn plot(&mut self, what: &str, plot: &Plot<'_>) -> Result {
        let path = bench_dir()?.join(format!("{}-{what}.svg", self.name));
        fs::write(&path, plot.svg()).map_err(Failure::io("cannot write", &path))?;
        self.about(&format!("plot of {what}"), &path.display().to_string());
        Ok(())
    }

    /// Prints the table and writes the JSON. A goal that is not met is printed
    /// as such and is no failure: it may be the machine's.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> Result {
        let path = bench_dir()?.join(format!("{}.json", self.name));
        fs::write(&path, self.json()).map_err(Failure::io("cannot write", &path))?;
        print!("{}", self.table(&path));
        Ok(())
    }

    fn table(&self, path: &Path) -> String {
        let mut lines =
            vec![["metric", "ours", "peer", "its", "ratio", "goal", ""].map(str::to_owned)];
        for row in &self.rows {
            let (peer, value) = match &row.peer {
                Some((peer, value)) => (peer.clone(), number(*value)),
                None => (String::new(), String::new()),
            };
            lines.push([
                row.metric.clone(),
                number(row.ours),
                peer,
                value,
                row.ratio().map(|it| number(it) + "x").unwrap_or_default(),
                row.goal.words(),
                match row.met() {
                    Some(true) => "met",
                    Some(false) => "NOT MET",
                    None => "",
                }
                .to_owned(),
            ]);
        }
        let mut widths = [0; 7];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::from("\n");
        for [metric, ours, peer, value, ratio, goal, met] in &lines {
            let [w0, w1, w2, w3, w4, w5, _] = widths;
            let line = format!(
                "{metric:<w0$}  {ours:>w1$}  {peer:<w2$}  {value:>w3$}  {ratio:>w4$}  {goal:<w5$}  {met}"
            );
            text += line.trim_end();
            text += "\n";
        }
        text += "\n";
        for (what, words) in &self.machine {
            let _ = writeln!(text, "{what}: {words}");
        }
        let count = |met| {
            self.rows
                .iter()
                .filter(|row| row.met() == Some(met))
                .count()
        };
        let _ = writeln!(
            text,
            "goals: {} met, {} not met; {}",
            count(true),
            count(false),
            path.display()
        );
        text
    }

    fn json(&self) -> String {
        let mut text = format!(
            "{{\n  \"name\": {},\n  \"machine\": {{",
            json_text(self.name)
        );
        for (at, (what, words)) in self.machine.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let (what, words) = (json_text(what), json_text(words));
            let _ = write!(text, "{comma}\n    {what}: {words}");
        }
        text += "\n  },\n  \"rows\": [";
        for (at, row) in self.rows.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let (peer, value) = match &row.peer {
                Some((peer, value)) => (json_text(peer), json_number(Some(*value))),
                None => ("null".to_owned(), "null".to_owned()),
            };
            let goal = match row.goal {
                Goal::None => "null".to_owned(),
                Goal::Times(_) | Goal::Within(_) | Goal::AtMost(_) => json_text(&row.goal.words()),
            };
            let met = row.met().map_or("null".to_owned(), |met| met.to_string());
            let _ = write!(
                text,
                "{comma}\n    {{\"metric\": {}, \"ours\": {}, \"peer\": {peer}, \
                 \"peer_value\": {value}, \"ratio\": {}, \"goal\": {goal}, \"met\": {met}}}",
                json_text(&row.metric),
                json_number(Some(row.ours)),
                json_number(row.ratio()),
            );
        }
        text + "\n  ]\n}\n"
    }
}

/// Where reports go, made if need be.
fn bench_dir() -> Result<PathBuf> {
    let dir = process::target_dir().join("bench");
    fs::create_dir_all(&dir).map_err(Failure::io("cannot make", &dir))?;
    Ok(dir)
}

impl Row {
    /// How many times ours the peer takes.
    fn ratio(&self) -> Option<f64> {
        let (_, value) = self.peer.as_ref()?;
        (self.ours > 0.0).then(|| value / self.ours)
    }

    /// Whether the goal is met, where there is one. What is not a number meets
    /// none.
    fn met(&self) -> Option<bool> {
        let peer = self.peer.as_ref().map_or(f64::NAN, |(_, value)| *value);
        match self.goal {
            Goal::None => None,
            Goal::Times(times) => Some(self.ours * times <= peer),
            Goal::Within(times) => Some(self.ours <= peer * times),
            Goal::AtMost(limit) => Some(self.ours <= limit),
        }
    }
}

impl Goal {
    fn words(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Times(times) => format!(">= {times}x"),
            Self::Within(times) => format!("<= {times} of it"),
            Self::AtMost(limit) => format!("<= {limit}"),
        }
    }
}

/// Three digits that mean something, and no exponent.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

fn json_number(value: Option<f64>) -> String {
    match value {
        Some(value) if value.is_finite() => value.to_string(),
        Some(_) | None => "null".to_owned(),
    }
}

fn json_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Report {
        let mut report = Report {
            name: "example",
            machine: Vec::new(),
            rows: Vec::new(),
        };
        report.about("cpu", "a \"fast\" one\t\\");
        report.row("add, us", 0.5, "other", 40.0, Goal::Times(60.0));
        report.row("add, us", 0.5, "floor", 0.45, Goal::Within(1.15));
        report.alone("writes", 0.0, Goal::AtMost(0.0));
        report.row("rss, kib", 812.0, "other", f64::NAN, Goal::Times(2.0));
        report.alone("lines", 1234.5, Goal::None);
        report
    }

    #[test]
    fn a_goal_is_met_or_not() {
        let met: Vec<_> = example().rows.iter().map(Row::met).collect();
        assert_eq!(met, [Some(true), Some(true), Some(true), Some(false), None]);
        let mut report = example();
        report.rows.clear();
        report.row("a", 1.0, "b", 59.9, Goal::Times(60.0));
        report.row("a", 1.16, "b", 1.0, Goal::Within(1.15));
        report.alone("a", 1.1, Goal::AtMost(1.0));
        assert!(report.rows.iter().all(|row| row.met() == Some(false)));
    }

    #[test]
    fn the_table_is_one_for_people() {
        let table = example().table(Path::new("x.json"));
        let expect = [
            "",
            "metric    ours  peer     its  ratio  goal           ",
            "add, us  0.500  other   40.0  80.0x  >= 60x         met",
            "add, us  0.500  floor  0.450  0.900x  <= 1.15 of it  met",
        ];
        // Widths are the widest cell's; the words and their order are ours.
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        for (line, expect) in table.lines().zip(expect) {
            assert_eq!(words(line), words(expect));
        }
        assert!(table.contains("rss, kib    812  other    NaN"), "{table}");
        assert!(table.contains("NOT MET"), "{table}");
        assert!(
            table.ends_with("goals: 3 met, 1 not met; x.json\n"),
            "{table}"
        );
    }

    #[test]
    fn the_json_is_json() {
        let json = example().json();
        assert!(
            json.contains(r#""cpu": "a \"fast\" one\u0009\\""#),
            "{json}"
        );
        assert!(
            json.contains(
                r#"{"metric": "add, us", "ours": 0.5, "peer": "other", "peer_value": 40, "ratio": 80, "goal": ">= 60x", "met": true}"#
            ),
            "{json}"
        );
        assert!(
            json.contains(
                r#"{"metric": "writes", "ours": 0, "peer": null, "peer_value": null, "ratio": null, "goal": "<= 0", "met": true}"#
            ),
            "{json}"
        );
        assert!(
            json.contains(r#""peer_value": null, "ratio": null, "goal": ">= 2x", "met": false"#)
        );
    }
}
