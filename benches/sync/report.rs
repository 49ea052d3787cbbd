//! What a run is asked for, and what it says.

use std::path::PathBuf;

use serde::Serialize;

pub struct Options {
    pub json: Option<PathBuf>,
    pub rounds: usize,
    pub quick: bool,
    /// A build of Vaultwarden to measure beside ours.
    pub vaultwarden: Option<PathBuf>,
    only: Option<String>,
}

impl Options {
    pub fn read() -> Self {
        let mut options = Self { json: None, rounds: 3, quick: false, vaultwarden: None, only: None };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--json" => options.json = words.next().map(PathBuf::from),
                "--rounds" => options.rounds = words.next().and_then(|n| n.parse().ok()).unwrap_or(3),
                "--quick" => (options.quick, options.rounds) = (true, 1),
                "--peer-vaultwarden" => options.vaultwarden = words.next().map(PathBuf::from),
                "--only" => options.only = words.next(),
                // cargo adds `--bench`.
                _ => {}
            }
        }
        options
    }

    pub fn wants(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| part.contains(only))
    }
}

#[derive(Serialize)]
struct Row {
    name: String,
    unit: String,
    ours: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<bool>,
}

/// What a measurement should reach.
#[derive(Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    None,
}

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub fn row(&mut self, name: &str, unit: &str, ours: f64, target: Target) {
        self.beside(name, unit, ours, None, target);
    }

    /// With a baseline that was measured in the same run.
    pub fn beside(&mut self, name: &str, unit: &str, ours: f64, floor: Option<(f64, &str)>, target: Target) {
        let (kind, target, ok) = match target {
            Target::AtLeast(t) => (Some("at_least"), Some(t), Some(ours >= t)),
            Target::AtMost(t) => (Some("at_most"), Some(t), Some(ours <= t)),
            Target::None => (None, None, None),
        };
        println!(
            "{name:<58} {ours:>12.3} {unit:<10} {}",
            ok.map_or("", |ok| if ok { "ok" } else { "MISSED" })
        );
        self.rows.push(Row {
            name: name.to_owned(),
            unit: unit.to_owned(),
            ours,
            baseline: floor.map(|(value, _)| value),
            baseline_name: floor.map(|(_, name)| name.to_owned()),
            // The target stands for ours, so no ratio is claimed beside it.
            ratio: None,
            target,
            target_kind: kind,
            ok,
        });
    }

    /// Beside another program in the same run: a target stands for the ratio.
    pub fn ratio(&mut self, name: &str, unit: &str, ours: f64, peer: (f64, &str), least: Option<f64>) {
        let (baseline, baseline_name) = peer;
        let ratio = ours / baseline;
        let ok = least.map(|least| ratio >= least);
        println!(
            "{name:<58} {ours:>12.3} {unit:<10} {baseline:.3} ({baseline_name}), ratio {ratio:.2} {}",
            ok.map_or("", |ok| if ok { "ok" } else { "MISSED" })
        );
        self.rows.push(Row {
            name: name.to_owned(),
            unit: unit.to_owned(),
            ours,
            baseline: Some(baseline),
            baseline_name: Some(baseline_name.to_owned()),
            ratio: Some(ratio),
            target: least,
            target_kind: least.map(|_| "at_least"),
            ok,
        });
    }

    pub fn write(&self, options: &Options) {
        let Some(path) = &options.json else { return };
        let measured = serde_json::json!({ "bench": "sync", "rows": self.rows });
        std::fs::write(path, serde_json::to_vec_pretty(&measured).unwrap()).unwrap();
    }
}

/// The value below which a share of the samples lies.
pub fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let at = (samples.len() as f64 * share).ceil() as usize;
    samples[at.clamp(1, samples.len()) - 1]
}

pub fn median(mut samples: Vec<f64>) -> f64 {
    percentile(&mut samples, 0.5)
}
