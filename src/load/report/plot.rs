//! Plots as inline SVG: lines over two axes, nothing else.

use std::fmt::Write as _;

/// One line of a plot.
pub(super) struct Line<'a> {
    /// In the legend.
    pub(super) name: &'a str,
    /// A CSS class that gives the colour: `a`, `b` or `c`.
    pub(super) class: &'static str,
    /// Points from left to right.
    pub(super) points: Vec<(f64, f64)>,
}

/// What a plot shows.
pub(super) struct Plot<'a> {
    /// Above it.
    pub(super) title: &'a str,
    /// Below the horizontal axis.
    pub(super) across: &'a str,
    /// What the vertical axis counts.
    pub(super) up: &'a str,
    /// Whether the vertical axis is logarithmic.
    pub(super) is_log: bool,
    /// Marks of the horizontal axis, by position; even ones when there are none.
    pub(super) marks: Vec<(f64, String)>,
    /// What is drawn.
    pub(super) lines: Vec<Line<'a>>,
}

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 40.0;
const TOP: f64 = 30.0;

impl Plot<'_> {
    /// The plot as SVG; nothing when there is no point.
    pub(super) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        if points().next().is_none() {
            return String::new();
        }
        let bound =
            |of: fn(f64, f64) -> f64, start: f64, at: fn((f64, f64)) -> f64| points().map(at).fold(start, of);
        let (left, right) =
            (bound(f64::min, f64::INFINITY, |p| p.0), bound(f64::max, f64::NEG_INFINITY, |p| p.0));
        let top = bound(f64::max, 0.0, |p| p.1);
        let scale = Scale::new(
            top,
            points().map(|p| p.1).filter(|y| *y > 0.0).fold(f64::INFINITY, f64::min),
            self.is_log,
        );
        let x = |value: f64| LEFT + (value - left) / (right - left).max(1e-9) * (WIDTH - LEFT - 20.0);
        let y = |value: f64| HEIGHT - BOTTOM - scale.share(value) * (HEIGHT - BOTTOM - TOP);
        let mut svg = format!(
            "<figure><figcaption>{}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(self.title),
            escape(self.title)
        );
        for mark in scale.marks() {
            let at = y(mark);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"up\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                WIDTH - 20.0,
                LEFT - 6.0,
                at + 4.0,
                number(mark)
            );
        }
        let even = || {
            (0..=5).map(|k| left + (right - left) * f64::from(k) / 5.0).map(|at| (at, number(at))).collect()
        };
        let marks: Vec<(f64, String)> = if self.marks.is_empty() { even() } else { self.marks.clone() };
        for (at, text) in marks.iter().filter(|(at, _)| (left..=right).contains(at)) {
            let _ = writeln!(
                svg,
                "<text class=\"across\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x(*at),
                HEIGHT - BOTTOM + 16.0,
                escape(text)
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"across\" x=\"{:.1}\" y=\"{:.1}\">{}</text><text x=\"4\" y=\"14\">{}</text>",
            f64::midpoint(LEFT, WIDTH),
            HEIGHT - 6.0,
            escape(self.across),
            escape(self.up)
        );
        for (number, line) in (0_u32..).zip(&self.lines) {
            let path: Vec<String> =
                line.points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
            let _ = writeln!(svg, "<polyline class=\"{}\" points=\"{}\"/>", line.class, path.join(" "));
            let at = LEFT + 90.0 + f64::from(number) * 130.0;
            let _ = writeln!(
                svg,
                "<line class=\"{}\" x1=\"{at}\" x2=\"{}\" y1=\"10\" y2=\"10\"/><text x=\"{}\" y=\"14\">{}</text>",
                line.class,
                at + 20.0,
                at + 26.0,
                escape(line.name)
            );
        }
        svg.push_str("</svg></figure>\n");
        svg
    }
}

/// The vertical axis.
struct Scale {
    bottom: f64,
    top: f64,
    is_log: bool,
}

impl Scale {
    fn new(top: f64, least: f64, is_log: bool) -> Self {
        let is_log = is_log && least.is_finite();
        if is_log {
            let bottom = 10_f64.powf(least.log10().floor());
            let top = 10_f64.powf(top.log10().ceil());
            Self { bottom, top: if top > bottom { top } else { bottom * 10.0 }, is_log }
        } else {
            let top = if top > 0.0 { top } else { 1.0 };
            // Up to the next 1, 2 or 5 of its size.
            let size = 10_f64.powf(top.log10().floor());
            let top =
                [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * size).find(|round| *round >= top * 0.999);
            Self { bottom: 0.0, top: top.unwrap_or(size * 10.0), is_log }
        }
    }

    fn share(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.bottom) / self.bottom).log10() / (self.top / self.bottom).log10()
        } else {
            value / self.top
        };
        share.clamp(0.0, 1.0)
    }

    fn marks(&self) -> Vec<f64> {
        if self.is_log {
            let mut marks = vec![self.bottom];
            while marks.last().is_some_and(|last| *last < self.top * 0.99) && marks.len() < 12 {
                marks.push(self.bottom * 10_f64.powi(i32::try_from(marks.len()).unwrap_or(12)));
            }
            marks
        } else {
            (0..=4).map(|k| self.top * f64::from(k) / 4.0).collect()
        }
    }
}

fn number(value: f64) -> String {
    let text = if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Text in HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_axes_are_short() {
        assert_eq!([0.0, 0.25, 2.5, 10.0, 12500.0].map(number), ["0", "0.25", "2.5", "10", "12500"]);
    }

    #[test]
    fn axis_ends_at_a_round_number() {
        assert_eq!(Scale::new(870.0, 1.0, false).marks(), [0.0, 250.0, 500.0, 750.0, 1000.0]);
        assert_eq!(Scale::new(870.0, 0.3, true).marks().len(), 5);
        assert_eq!(Scale::new(0.0, f64::INFINITY, true).marks(), [0.0, 0.25, 0.5, 0.75, 1.0]);
    }

    #[test]
    fn what_servers_say_is_no_markup() {
        assert_eq!(escape("<script>\"&\""), "&lt;script&gt;&quot;&amp;&quot;");
    }
}
