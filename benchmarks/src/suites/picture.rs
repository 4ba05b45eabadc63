//! Draws a report as SVG: a group of bars a query, a colour an engine.
//!
//! The picture has no background, and its text is light where the reader asked for dark pages. Where an engine gave no
//! right answer there is a cross in place of a bar, whose tooltip says why.

use super::measure::{Runs, Verdict};
use super::report::{QueryReport, Report};

const BAR_WIDTH: f64 = 9.0;
/// Between two groups.
const GAP_WIDTH: f64 = 12.0;
const WIDTH_MIN: f64 = 760.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 16.0;
/// Above the bars: a title, the machine, the legend.
const TOP: f64 = 84.0;
const BARS_HEIGHT: f64 = 260.0;
const BOTTOM: f64 = 28.0;
const BASE: f64 = TOP + BARS_HEIGHT;
const TICKS_MAX: f64 = 5.0;

const STYLE: &str = "<style>\
    .grappe-bench{color:#1f2328;font:12px system-ui,sans-serif}\
    .grappe-bench text{fill:currentColor}\
    .grappe-bench line{stroke:currentColor;stroke-opacity:.2}\
    @media(prefers-color-scheme:dark){.grappe-bench{color:#e6edf3}}\
    </style>";

/// The text of the SVG file.
pub(crate) fn draw(report: &Report) -> String {
    let scale = Scale::of(report);
    let width = (LEFT + group_width(report) * report.queries.len() as f64 + RIGHT).max(WIDTH_MIN);
    let mut parts = vec![
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="grappe-bench" role="img" viewBox="0 0 {width} {}">"#,
            BASE + BOTTOM
        ),
        STYLE.to_owned(),
        heading(report),
    ];
    parts.extend(legend(report));
    parts.extend(scale.ticks().map(|seconds| tick(seconds, &scale, width)));
    for (index, query) in report.queries.iter().enumerate() {
        parts.extend(group(query, LEFT + group_width(report) * index as f64, &scale));
    }
    parts.push("</svg>\n".to_owned());
    parts.join("\n")
}

/// How seconds become heights; from zero, so that twice as high is twice as long.
struct Scale {
    seconds_max: f64,
    step: f64,
}

impl Scale {
    fn of(report: &Report) -> Self {
        let runs = report.queries.iter().flat_map(|query| &query.measured.engines);
        let longest = runs.filter_map(Runs::comparable_seconds).fold(0.0, f64::max);
        let longest = if longest > 0.0 { longest } else { 1.0 };
        let rough = longest / TICKS_MAX;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * power);
        Self { seconds_max: (longest / step).ceil() * step, step }
    }

    fn height(&self, seconds: f64) -> f64 {
        BARS_HEIGHT * seconds / self.seconds_max
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = (self.seconds_max / self.step).round() as u32;
        (0..=count).map(|index| f64::from(index) * self.step)
    }

    /// As many digits after the point as tell two ticks apart.
    fn label(&self, seconds: f64) -> String {
        let digits = (-self.step.log10().floor()).max(0.0) as usize;
        format!("{seconds:.digits$}")
    }
}

fn group_width(report: &Report) -> f64 {
    BAR_WIDTH * report.engines.len() as f64 + GAP_WIDTH
}

fn heading(report: &Report) -> String {
    let Report { suite, scale, mode, reps, machine, .. } = report;
    let cpu = machine.cpu.as_deref().unwrap_or("unknown");
    let title = format!("{suite} at scale {scale}, mode {mode}: seconds a query, median of {reps}; less is better");
    let machine = escaped(&format!("{} cores of {cpu}, every engine on the same Parquet files", machine.cores));
    format!(
        r#"<title>{title}</title><text x="{LEFT}" y="20" font-size="14" font-weight="600">{title}</text><text x="{LEFT}" y="40">{machine}</text>"#
    )
}

fn legend(report: &Report) -> Vec<String> {
    let mut x = LEFT;
    let mut parts = Vec::new();
    for engine in &report.engines {
        let name = format!("{} {}", engine.name, engine.version);
        let (colour, text_x) = (colour(engine.name), x + 16.0);
        parts.push(format!(
            r#"<rect x="{x}" y="53" width="11" height="11" rx="2" fill="{colour}"/><text x="{text_x}" y="63">{}</text>"#,
            escaped(&name)
        ));
        // About the width of its letters.
        x = text_x + 7.5 * name.chars().count() as f64 + 16.0;
    }
    parts
}

fn tick(seconds: f64, scale: &Scale, width: f64) -> String {
    let y = BASE - scale.height(seconds);
    let (right, label_x, label_y) = (width - RIGHT, LEFT - 6.0, y + 4.0);
    let label = scale.label(seconds);
    format!(
        r#"<line x1="{LEFT}" y1="{y:.1}" x2="{right}" y2="{y:.1}"/><text x="{label_x}" y="{label_y:.1}" text-anchor="end">{label}</text>"#
    )
}

fn group(query: &QueryReport, left: f64, scale: &Scale) -> Vec<String> {
    let engines = &query.measured.engines;
    let number = query.measured.query;
    let start = left + GAP_WIDTH / 2.0;
    let middle = start + BAR_WIDTH * engines.len() as f64 / 2.0;
    let label_y = BASE + 18.0;
    let label = format!(r#"<text x="{middle}" y="{label_y}" text-anchor="middle">{number}</text>"#);
    let bars = engines.iter().enumerate();
    let bars = bars.map(|(index, runs)| bar(runs, number, start + BAR_WIDTH * index as f64, scale));
    bars.chain([label]).collect()
}

fn bar(runs: &Runs, number: usize, x: f64, scale: &Scale) -> String {
    let (engine, colour) = (runs.engine, colour(runs.engine));
    if let Some(seconds) = runs.comparable_seconds() {
        let height = scale.height(seconds);
        let (y, width) = (BASE - height, BAR_WIDTH - 1.0);
        return format!(
            r#"<rect x="{x}" y="{y:.1}" width="{width}" height="{height:.1}" fill="{colour}"><title>q{number:02} {engine}: {seconds:.3} s</title></rect>"#
        );
    }
    let (why, middle, y) = (missing(runs.verdict), x + BAR_WIDTH / 2.0, BASE - 3.0);
    format!(
        r#"<text x="{middle}" y="{y}" text-anchor="middle" style="fill:{colour}">×<title>q{number:02} {engine}: {why}</title></text>"#
    )
}

fn missing(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unchecked | Verdict::Verified => "not run",
        Verdict::Different => "wrong answer",
        Verdict::Failed => "failed",
        Verdict::Unsupported => "SQL not supported",
    }
}

/// An engine has the same colour in every picture; they differ for the colour-blind, on light and on dark.
fn colour(engine: &str) -> &'static str {
    match engine {
        "grappe" => "#d6478f",
        "datafusion" => "#e69f00",
        "duckdb" => "#009e73",
        "polars" => "#3b8fd6",
        "spark" => "#c4512d",
        _ => "#8c8c8c",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites::report::tests::example;

    #[test]
    fn right_answers_are_bars_and_the_others_crosses() {
        let svg = draw(&example());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert_eq!(svg.matches("</title></rect>").count(), 6);
        assert_eq!(svg.matches('×').count(), 2);
        for text in ["q02 polars: 2.000 s", "q03 polars: wrong answer", "q04 polars: SQL not supported"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn ticks_are_round_numbers_that_reach_the_longest_bar() {
        let scale = Scale::of(&example());
        let labels: Vec<_> = scale.ticks().map(|seconds| scale.label(seconds)).collect();
        assert_eq!(labels, ["0.0", "0.5", "1.0", "1.5", "2.0"]);
    }

    #[test]
    fn names_cannot_break_the_picture() {
        assert_eq!(escaped("a<b>&c"), "a&lt;b&gt;&amp;c");
    }
}
