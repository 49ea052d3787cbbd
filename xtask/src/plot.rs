//! The picture of the results, written as SVG by hand: every row that has a target, as a bar that is to reach its
//! target or to stay below it. The targets stand on one line.

use crate::bench::{Measured, Row};
use crate::report;
use std::fmt::Write;

/// A letter of a name is at most about so wide.
const LETTER: f64 = 6.4;
const MARGIN: f64 = 16.0;
/// From where bars begin to the line of the targets.
const TARGET: f64 = 260.0;
/// Room for the longest bar: what is further from its target is cut there. Right of it stands the number.
const LONGEST: f64 = 420.0;
const NUMBER: f64 = 260.0;
const LINE: f64 = 24.0;
const BAR: f64 = 14.0;

const GOOD: &str = "#2f7d5b";
const BAD: &str = "#b3412f";

/// Bars of `ours ÷ baseline` (of `ours` where there is no baseline) in parts of their targets, one group for each bench.
pub fn ratios(benches: &[Measured]) -> String {
    let names = benches.iter().flat_map(|bench| aimed(&bench.rows)).map(|(row, _)| row.name.chars().count());
    let left = MARGIN + LETTER * f64::from(u32::try_from(names.max().unwrap_or(0)).unwrap_or(0)) + 10.0;
    let mut body = String::new();
    let mut y = 34.0;
    for Measured { bench, rows } in benches.iter().filter(|bench| aimed(&bench.rows).next().is_some()) {
        let _ = writeln!(body, r#"<text x="{MARGIN}" y="{y}" class="bench">{}</text>"#, escaped(bench));
        y += 10.0;
        for (row, target) in aimed(rows) {
            bar(&mut body, row, target, left, y);
            y += LINE;
        }
        y += 34.0;
    }
    let width = left + LONGEST + NUMBER;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{y}" viewBox="0 0 {width:.0} {y}" role="img">
<title>Lockstep's measurements beside their targets</title>
<style>
text {{ font: 12px system-ui, sans-serif; fill: #1d2630; }}
.bench {{ font-weight: 600; font-size: 15px; }}
.number {{ font-variant-numeric: tabular-nums; }}
</style>
<rect width="100%" height="100%" fill="#ffffff"/>
{body}</svg>
"##
    )
}

/// The rows that have a target, with it.
fn aimed(rows: &[Row]) -> impl Iterator<Item = (&Row, f64)> {
    rows.iter().filter_map(|row| Some((row, row.target?)))
}

/// The value that the bar shows.
fn shown(row: &Row) -> f64 {
    row.ratio.unwrap_or(row.ours)
}

fn bar(body: &mut String, row: &Row, target: f64, left: f64, y: f64) {
    let (bar_y, text_y) = (y + (LINE - BAR) / 2.0, y + LINE / 2.0 + 4.0);
    let colour = if row.ok == Some(false) { BAD } else { GOOD };
    let length = (shown(row) / target * TARGET).clamp(1.0, LONGEST);
    let _ = writeln!(
        body,
        r#"<text x="{:.1}" y="{text_y}" text-anchor="end">{}</text>"#,
        left - 10.0,
        escaped(&row.name)
    );
    let _ = writeln!(
        body,
        r#"<rect x="{left:.1}" y="{bar_y}" width="{length:.1}" height="{BAR}" rx="2" fill="{colour}"/>"#,
    );
    target_line(body, left + TARGET, y);
    let number = match row.ratio {
        Some(ratio) => format!("{}×", report::number(ratio)),
        None => format!("{} {}", report::number(row.ours), row.unit),
    };
    let x = left + length.max(TARGET) + 8.0;
    let _ = writeln!(
        body,
        r#"<text x="{x:.1}" y="{text_y}" class="number">{}</text>"#,
        escaped(&format!("{number}  ({})", report::target(row)))
    );
}

fn target_line(body: &mut String, x: f64, y: f64) {
    let (top, bottom) = (y + 1.0, y + LINE - 1.0);
    let _ = writeln!(
        body,
        r##"<line x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom}" stroke="#1d2630" stroke-width="2"/>"##
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Kind;

    fn row(name: &str, ratio: f64, target: Option<f64>) -> Row {
        Row {
            name: name.to_owned(),
            unit: "events/s".to_owned(),
            ours: ratio * 100.0,
            baseline: Some(100.0),
            baseline_name: None,
            ratio: Some(ratio),
            target,
            target_kind: target.map(|_| Kind::AtLeast),
            ok: target.map(|target| ratio >= target),
        }
    }

    fn drawn(rows: Vec<Row>) -> String {
        ratios(&[Measured { bench: "a<b".to_owned(), rows }])
    }

    #[test]
    fn a_bar_is_as_long_as_its_part_of_the_target_and_a_missed_one_is_red() {
        let svg =
            drawn(vec![row("half", 1.0, Some(2.0)), row("met", 2.0, Some(2.0)), row("far", 90.0, Some(2.0))]);
        for (length, colour) in [(TARGET / 2.0, BAD), (TARGET, GOOD), (LONGEST, GOOD)] {
            let bar = format!(r#"width="{length:.1}" height="14" rx="2" fill="{colour}""#);
            assert!(svg.contains(&bar), "{bar} in {svg}");
        }
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
    }

    #[test]
    fn what_has_no_target_is_left_to_the_table_and_the_longest_name_has_room() {
        let long = "a name that is much longer than any other in the whole picture of the results";
        let svg = drawn(vec![row(long, 1.0, Some(2.0)), row("plain", 1.0, None)]);
        assert!(svg.contains(long) && !svg.contains("plain"));
        let left = MARGIN + LETTER * f64::from(u32::try_from(long.len()).unwrap());
        assert!(svg.contains(&format!(r#"<text x="{left:.1}" y="#)), "{svg}");
    }
}
