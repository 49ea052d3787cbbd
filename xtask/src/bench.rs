//! `cargo xtask bench`: runs the programs in benches/ against private services and writes docs/bench/.
//!
//! A program in benches/ accepts `--json PATH` and `--rounds N` (and ignores cargo's `--bench`), and writes one
//! [`Measured`] to PATH.

use crate::process::{self, Doing, Result, fail};
use crate::services::{self, S3Kind};
use crate::{cold, install, report};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Args)]
pub struct Options {
    /// Which benches to run: append, rebuild, sync, build; all when none is named. The others keep their last results.
    names: Vec<String>,
    /// How often each measurement is repeated.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// One round, to see that everything runs; writes nothing.
    #[arg(long)]
    quick: bool,
    /// A build of Vaultwarden with SQLite and Postgres: bench sync measures it in the same run, by turns with ours.
    #[arg(long, value_name = "PATH")]
    peer_vaultwarden: Option<PathBuf>,
}

/// What one bench program writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The program's name, as in benches/NAME.rs.
    pub bench: String,
    pub rows: Vec<Row>,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// A short phrase: "append, Postgres, 32 writers".
    pub name: String,
    /// Of `ours` and `baseline`: "events/s", "ms", "MB".
    pub unit: String,
    pub ours: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_name: Option<String>,
    /// `ours ÷ baseline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// For the ratio where there is one, else for `ours`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_kind: Option<Kind>,
    /// Whether the target is met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    AtLeast,
    AtMost,
}

/// Runs them one after the other: they must not disturb each other.
pub fn run(options: &Options) -> Result<()> {
    install::ensure(&[&install::BUILD])?;
    let known: Vec<String> = programs()?.into_iter().chain([cold::NAME.to_owned()]).collect();
    if let Some(unknown) = options.names.iter().find(|name| !known.contains(name)) {
        return fail(format!("there is no bench {unknown}; there are: {}", known.join(", ")));
    }
    let chosen: Vec<_> =
        known.iter().filter(|name| options.names.is_empty() || options.names.contains(name)).collect();
    for name in chosen.iter().filter(|name| **name != cold::NAME) {
        process::run(&mut process::cargo(&["bench", "--locked", "--bench", name, "--no-run"]))?;
    }
    let services = services::start(S3Kind::S3s, false)?;
    let rounds = if options.quick { 1 } else { options.rounds };
    let measured: Vec<_> =
        chosen.iter().map(|name| measure(name, rounds, options, &services)).collect::<Result<_>>()?;
    if options.quick {
        print!("{}", report::table(&measured));
        return Ok(());
    }
    report::write(measured)
}

fn measure(name: &str, rounds: u32, options: &Options, services: &services::Services) -> Result<Measured> {
    if name == cold::NAME {
        return cold::measure();
    }
    println!("\n━━ bench {name}");
    let folder = process::cache().join("bench");
    std::fs::create_dir_all(&folder).doing("create a folder for results")?;
    let file = folder.join(format!("{name}.json"));
    let _ = std::fs::remove_file(&file);
    let mut command = process::cargo(&["bench", "--locked", "--bench", name, "--"]);
    command.arg("--json").arg(&file).args(["--rounds", &rounds.to_string()]);
    if let Some(peer) = options.peer_vaultwarden.as_ref().filter(|_| name == "sync") {
        command.arg("--peer-vaultwarden").arg(peer.canonicalize().doing("find the build of Vaultwarden")?);
    }
    command.envs(services.variables.iter().map(|(name, value)| (name, value)));
    process::run(&mut command)?;
    let text = std::fs::read_to_string(&file).doing(format!("read what bench {name} wrote"))?;
    serde_json::from_str(&text).doing(format!("understand what bench {name} wrote"))
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// The names of all bench programs of the workspace.
fn programs() -> Result<Vec<String>> {
    let text = process::answer(&mut process::cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata = serde_json::from_str(&text).doing("understand cargo metadata")?;
    let targets = metadata.packages.into_iter().flat_map(|package| package.targets);
    let is_bench = |target: &Target| target.kind.iter().any(|kind| kind == "bench");
    Ok(targets.filter(is_bench).map(|target| target.name).collect())
}
