//! A chart of a benchmark as SVG: one line for each series over decades both
//! ways, so that what grows in step with its cause is a straight line of slope
//! one. It decides nothing about the numbers.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
/// Room beside the chart: for the numbers left and below, the title, the names.
const LEFT: f64 = 78.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 58.0;
/// Ours first, and bold.
const COLOURS: [&str; 6] = [
    "#0b5fa5", "#c4500a", "#3c8031", "#8a3f97", "#7a6a00", "#555555",
];

/// A chart: what its axes count, and points of `(x, y)` by series. A point that
/// is not above 0 has no place on it and is left out.
pub struct Plot<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
    pub series: Vec<(String, Vec<(f64, f64)>)>,
}

impl Plot<'_> {
    /// The whole file.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|(_, points)| points.iter());
        let x = Axis::over(points().map(|(x, _)| *x), LEFT, WIDTH - RIGHT);
        let y = Axis::over(points().map(|(_, y)| *y), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        text(
            &mut svg,
            middle,
            24.0,
            "middle\" font-size=\"16",
            self.title,
        );
        text(&mut svg, middle, HEIGHT - 14.0, "middle", self.x);
        let _ = writeln!(svg, "<g transform=\"rotate(-90 18 {0})\">", HEIGHT / 2.0);
        text(&mut svg, 18.0, HEIGHT / 2.0, "middle", self.y);
        svg += "</g>\n";
        for decade in x.decades() {
            let at = x.place(decade);
            line(&mut svg, (at, TOP), (at, HEIGHT - BOTTOM));
            text(
                &mut svg,
                at,
                HEIGHT - BOTTOM + 18.0,
                "middle",
                &count(decade),
            );
        }
        for decade in y.decades() {
            let at = y.place(decade);
            line(&mut svg, (LEFT, at), (WIDTH - RIGHT, at));
            text(&mut svg, LEFT - 8.0, at + 4.0, "end", &count(decade));
        }
        let mut names = Names::default();
        for ((name, points), (at, colour)) in
            self.series.iter().zip(COLOURS.iter().cycle().enumerate())
        {
            let width = if at == 0 { 3.0 } else { 1.5 };
            let places: Vec<_> = points
                .iter()
                .filter(|(x, y)| *x > 0.0 && *y > 0.0)
                .map(|(px, py)| (x.place(*px), y.place(*py)))
                .collect();
            let path: Vec<_> = places
                .iter()
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect();
            let _ = writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" \
                 points=\"{}\"/>",
                path.join(" ")
            );
            for (x, y) in &places {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{:.1}\" fill=\"{colour}\"/>",
                    width + 1.0
                );
            }
            if let Some((x, y)) = places.last() {
                let y = names.free(*y);
                let anchor = format!("start\" fill=\"{colour}");
                text(&mut svg, x + 10.0, y + 4.0, &anchor, name);
            }
        }
        svg + "</svg>\n"
    }
}

/// Decades of one axis, and where they lie on the paper.
struct Axis {
    /// Powers of ten.
    first: i32,
    last: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0 && value.is_finite()) {
            least = least.min(value);
            most = most.max(value);
        }
        if most < least {
            (least, most) = (1.0, 10.0);
        }
        let first = whole(least.log10().floor());
        let last = whole(most.log10().ceil()).max(first + 1);
        Self {
            first,
            last,
            from,
            to,
        }
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.first..=self.last).map(|power| 10_f64.powi(power))
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        self.from + share * (self.to - self.from)
    }
}

/// Names stand at the ends of their lines, but not one on the other.
#[derive(Default)]
struct Names(Vec<f64>);

impl Names {
    const APART: f64 = 15.0;

    fn free(&mut self, wanted: f64) -> f64 {
        let mut at = wanted;
        while self.0.iter().any(|taken| (taken - at).abs() < Self::APART) {
            at += Self::APART;
        }
        self.0.push(at);
        at
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a power of ten of an f64")]
const fn whole(value: f64) -> i32 {
    value as i32
}

fn count(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    }
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#dddddd\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(series: &[(&str, &[(f64, f64)])]) -> String {
        let owned = |(name, points): &(&str, &[(f64, f64)])| ((*name).to_owned(), points.to_vec());
        Plot {
            title: "memory <KiB>",
            x: "backends",
            y: "KiB",
            series: series.iter().map(owned).collect(),
        }
        .svg()
    }

    #[test]
    fn in_step_is_a_straight_line() {
        let svg = plot(&[("ours", &[(1e3, 1e3), (1e4, 1e4), (1e5, 1e5)])]);
        // From corner to corner, by the middle.
        assert!(
            svg.contains("points=\"78.0,382.0 334.0,213.0 590.0,44.0\""),
            "{svg}"
        );
        assert!(
            svg.contains(">100 k</text>") && svg.contains("memory &lt;KiB>"),
            "{svg}"
        );
    }

    #[test]
    fn names_do_not_cover_each_other() {
        let svg = plot(&[("ours", &[(1.0, 5.0)]), ("theirs", &[(1.0, 5.0)])]);
        let y = |name: &str| {
            let line = svg
                .lines()
                .find(|line| line.ends_with(&format!(">{name}</text>")));
            let at = line.and_then(|line| line.split("y=\"").nth(1));
            at.and_then(|at| at.split('"').next()?.parse::<f64>().ok())
                .expect("the name has a place")
        };
        assert!((y("ours") - y("theirs")).abs() >= Names::APART);
    }

    #[test]
    fn nothing_to_show_is_an_empty_chart() {
        for series in [&[][..], &[("ours", &[(0.0, f64::NAN), (-1.0, 3.0)][..])]] {
            let svg = plot(series);
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
        }
    }
}
