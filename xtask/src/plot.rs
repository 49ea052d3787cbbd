//! The picture of the results, written as SVG by hand: a bar for each row, its target as a line across it.

use crate::bench::{Measured, Row};
use crate::report;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
/// Where bars begin: left of it stand the names.
const LEFT: f64 = 340.0;
/// Room for the longest bar; right of it stands its number.
const LONGEST: f64 = 420.0;
const LINE: f64 = 24.0;
const BAR: f64 = 14.0;

const GOOD: &str = "#2f7d5b";
const BAD: &str = "#b3412f";
const PLAIN: &str = "#5b6b7d";

/// Bars of `ours ÷ baseline` (of `ours` where there is no baseline), one group for each bench. Bars of a group share a
/// scale only where they share a unit; a bar is always to be read beside its own target.
pub fn ratios(benches: &[Measured]) -> String {
    let mut body = String::new();
    let mut y = 34.0;
    for Measured { bench, rows } in benches {
        let _ = writeln!(body, r#"<text x="16" y="{y}" class="bench">{}</text>"#, escaped(bench));
        y += 10.0;
        for row in rows {
            bar(&mut body, row, longest(rows, row), y);
            y += LINE;
        }
        y += 34.0;
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">
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

/// The value that the bar shows.
fn shown(row: &Row) -> f64 {
    row.ratio.unwrap_or(row.ours)
}

fn same_scale(one: &Row, other: &Row) -> bool {
    match (one.ratio, other.ratio) {
        (Some(_), Some(_)) => true,
        (None, None) => one.unit == other.unit,
        _ => false,
    }
}

/// The largest value or target among the rows that share this row's scale.
fn longest(rows: &[Row], row: &Row) -> f64 {
    let alike = rows.iter().filter(|other| same_scale(row, other));
    alike.map(|other| shown(other).max(other.target.unwrap_or(0.0))).fold(f64::MIN_POSITIVE, f64::max)
}

fn bar(body: &mut String, row: &Row, longest: f64, y: f64) {
    let length = |value: f64| (value / longest * LONGEST).clamp(1.0, LONGEST);
    let (bar_y, text_y) = (y + (LINE - BAR) / 2.0, y + LINE / 2.0 + 4.0);
    let colour = match row.ok {
        Some(true) => GOOD,
        Some(false) => BAD,
        None => PLAIN,
    };
    let value = shown(row);
    let _ = writeln!(
        body,
        r#"<text x="{}" y="{text_y}" text-anchor="end">{}</text>"#,
        LEFT - 10.0,
        escaped(&row.name)
    );
    let _ = writeln!(
        body,
        r#"<rect x="{LEFT}" y="{bar_y}" width="{:.1}" height="{BAR}" rx="2" fill="{colour}"/>"#,
        length(value)
    );
    if let Some(target) = row.target {
        target_line(body, LEFT + length(target), y);
    }
    let number = match row.ratio {
        Some(ratio) => format!("{}×", report::number(ratio)),
        None => format!("{} {}", report::number(row.ours), row.unit),
    };
    let aim = if row.target.is_some() { format!("  ({})", report::target(row)) } else { String::new() };
    let x = LEFT + length(value).max(row.target.map_or(0.0, length)) + 8.0;
    let _ = writeln!(
        body,
        r#"<text x="{x:.1}" y="{text_y}" class="number">{}</text>"#,
        escaped(&(number + &aim))
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

    fn row(name: &str, ratio: f64, ok: bool) -> Row {
        Row {
            name: name.to_owned(),
            unit: "events/s".to_owned(),
            ours: ratio * 100.0,
            baseline: Some(100.0),
            baseline_name: None,
            ratio: Some(ratio),
            target: Some(2.0),
            target_kind: Some(Kind::AtLeast),
            ok: Some(ok),
        }
    }

    #[test]
    fn the_longest_bar_fills_the_room_and_a_missed_target_is_red() {
        let benches =
            [Measured { bench: "a<b".to_owned(), rows: vec![row("one", 4.0, true), row("two", 1.0, false)] }];
        let svg = ratios(&benches);
        assert!(svg.contains(&format!(r#"width="{LONGEST:.1}" height="14" rx="2" fill="{GOOD}""#)), "{svg}");
        assert!(
            svg.contains(&format!(r#"width="{:.1}" height="14" rx="2" fill="{BAD}""#, LONGEST / 4.0)),
            "{svg}"
        );
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
    }
}
