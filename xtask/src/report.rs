//! docs/bench/: results.json (the truth), README.md (a table of it) and ratios.svg (a picture of it).

use crate::bench::{Kind, Measured, Row};
use crate::plot;
use crate::process::{self, Doing, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::process::Command;

#[derive(Default, Serialize, Deserialize)]
struct Results {
    /// What they were measured on.
    machine: String,
    /// The day of the last measurement.
    measured: String,
    benches: Vec<Measured>,
}

/// Replaces the results of the benches that ran, keeps the others, and writes all three files.
pub fn write(measured: Vec<Measured>) -> Result<()> {
    let folder = process::root().join("docs/bench");
    std::fs::create_dir_all(&folder).doing("create docs/bench")?;
    let save = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).doing(format!("write docs/bench/{name}"))
    };
    let before = std::fs::read_to_string(folder.join("results.json")).unwrap_or_default();
    let mut results: Results = serde_json::from_str(&before).unwrap_or_default();
    results.machine = machine();
    process::answer(Command::new("date").args(["-u", "+%F"]))?.trim().clone_into(&mut results.measured);
    results.benches = merged(results.benches, measured);
    let json = serde_json::to_string_pretty(&results).doing("write JSON")?;
    save("results.json", &(json + "\n"))?;
    save("README.md", &page(&results))?;
    save("ratios.svg", &plot::ratios(&results.benches))?;
    println!("\n{}\nwrote docs/bench/", table(&results.benches));
    Ok(())
}

fn merged(mut before: Vec<Measured>, now: Vec<Measured>) -> Vec<Measured> {
    before.retain(|old| now.iter().all(|new| new.bench != old.bench));
    before.extend(now);
    before.sort_by(|one, other| one.bench.cmp(&other.bench));
    before
}

fn page(results: &Results) -> String {
    format!(
        "# Measured\n\nBy `cargo xtask bench` on {}, {}. Ours and its baseline run side by side in one run, so the ratio \
         says more than\neither number: another machine changes both. A target stands for the ratio where there is one, \
         else for ours.\n\n![Ratios beside their targets](ratios.svg)\n\n{}\nThe numbers for programs: \
         [results.json](results.json).\n\n{PEER}",
        results.machine,
        results.measured,
        table(&results.benches)
    )
}

/// How a reader measures ours beside another server.
const PEER: &str = "\
## Beside Vaultwarden

`cargo xtask bench sync --peer-vaultwarden PATH` pushes to a build of
[Vaultwarden](https://github.com/dani-garcia/vaultwarden) in the same run, by turns with ours; without it nothing of it
is needed. In a checkout of it, with `libpq-dev` and `libssl-dev` installed, this builds it as ours is built:

```console
$ CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \\
    cargo build --release --locked --features sqlite,postgresql     # target/release/vaultwarden
```

A push there is one `PUT` of a login with 600 bytes of sealed content, over HTTP without TLS. On SQLite it is measured
as it comes (`synchronous = NORMAL`: a commit is safe from a loss of power at the next checkpoint) and as durable as
ours (`FULL`).
";

/// A Markdown table of all rows, one section for each bench.
pub fn table(benches: &[Measured]) -> String {
    let mut text = String::new();
    for Measured { bench, rows } in benches {
        let _ = writeln!(text, "## {bench}\n\n| what | ours | baseline | ratio | target | met |");
        text.push_str("|---|---:|---:|---:|---:|---|\n");
        for row in rows {
            let _ = writeln!(
                text,
                "| {} | {} {} | {} | {} | {} | {} |",
                row.name,
                number(row.ours),
                row.unit,
                baseline(row),
                row.ratio.map(number).unwrap_or_default(),
                target(row),
                row.ok.map(|ok| if ok { "yes" } else { "**no**" }).unwrap_or_default(),
            );
        }
        text.push('\n');
    }
    text
}

fn baseline(row: &Row) -> String {
    let Some(value) = row.baseline else { return String::new() };
    let name = row.baseline_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{} {}{name}", number(value), row.unit)
}

/// `≥ 2.5` or `≤ 15`.
pub fn target(row: &Row) -> String {
    let (Some(target), Some(kind)) = (row.target, row.target_kind) else { return String::new() };
    let sign = if kind == Kind::AtLeast { '≥' } else { '≤' };
    format!("{sign} {}", number(target))
}

/// Three digits that matter; thousands in groups.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && digit != '-' && (whole.len() - index).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// Processor, cores and memory, as far as the system says.
fn machine() -> String {
    let field = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unnamed processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory =
        field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let memory = memory.map(|kilobytes| format!(", {} GB", kilobytes.div_ceil(1 << 20))).unwrap_or_default();
    format!("{processor}, {cores} cores{memory}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(bench: &str, ours: f64) -> Measured {
        let row = Row {
            name: "32 writers".to_owned(),
            unit: "events/s".to_owned(),
            ours,
            baseline: Some(1000.0),
            baseline_name: Some("INSERT".to_owned()),
            ratio: Some(ours / 1000.0),
            target: Some(2.5),
            target_kind: Some(Kind::AtLeast),
            ok: Some(ours >= 2500.0),
        };
        Measured { bench: bench.to_owned(), rows: vec![row] }
    }

    #[test]
    fn a_new_run_replaces_its_own_bench_and_keeps_the_others() {
        let before = vec![measured("append", 1.0), measured("sync", 2.0)];
        let after = merged(before, vec![measured("append", 3.0)]);
        assert_eq!(after, vec![measured("append", 3.0), measured("sync", 2.0)]);
    }

    #[test]
    fn the_table_says_what_was_aimed_at_and_whether_it_was_met() {
        let text = table(&[measured("append", 12345.0), measured("sync", 1.0)]);
        assert!(
            text.contains("| 32 writers | 12,345 events/s | 1,000 events/s (INSERT) | 12.3 | ≥ 2.50 | yes |"),
            "{text}"
        );
        assert!(text.contains("**no**"));
    }

    #[test]
    fn a_row_without_a_baseline_is_read() {
        let text = r#"{"bench":"size","rows":[{"name":"idle","unit":"MB","ours":21.5,"target":25,"target_kind":"at_most","ok":true}]}"#;
        let read: Measured = serde_json::from_str(text).unwrap();
        assert_eq!(target(&read.rows[0]), "≤ 25.0");
        assert!(plot::ratios(&[read]).contains("21.5 MB"));
    }
}
