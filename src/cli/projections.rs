//! `lockstepd projections`: the words, the table and the bar; `operate::projections` does the work.

use std::{io::Write, ops::ControlFlow, sync::Arc};

use clap::Subcommand;
use indicatif::ProgressBar;
use lockstep_events::Clock;
use lockstep_projections::rebuild::Step;

use super::{
    AnyError,
    ended::Usage,
    shown::{bar, print_json},
};
use crate::{
    app,
    clock::SystemClock,
    config::Config,
    operate::projections::{Listed, Place, Report, families, list, plan, rebuild},
};

#[derive(Debug, Subcommand)]
pub enum Projections {
    /// List the read models: generation, position, lag, rows.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fill read models again from the whole log, beside the live ones, and switch. The server may run.
    Rebuild {
        /// accounts, devices, sessions, vaults, entries, versions. The first three are made by one fold and
        /// rebuilt together; so are the last three.
        names: Vec<String>,
        /// All of them.
        #[arg(long, conflicts_with = "names")]
        all: bool,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// Whatever it meets.
pub async fn run(what: Projections, config: &Config, out: &mut (impl Write + Send)) -> Result<(), AnyError> {
    // Before anything is opened: it may be that nothing can be meant.
    let families = match &what {
        Projections::List { .. } => Vec::new(),
        Projections::Rebuild { names, all, .. } => {
            families(names, *all).map_err(|error| Usage(error.to_string()))?
        }
    };
    let writes = matches!(what, Projections::Rebuild { dry_run: false, .. });
    let (log, reads) = app::log_and_reads(config, writes).await?;
    let place = Place { log, reads, clock: Arc::new(SystemClock) };
    match what {
        Projections::List { json } => {
            let listed = list(&*place.log, &*place.reads, SystemClock.now()).await?;
            if json { print_json(out, &listed) } else { print_list(out, &listed) }
        }
        Projections::Rebuild { dry_run, json, .. } => {
            let reports = if dry_run {
                plan(&place, &families).await?
            } else {
                let bar = bar("{bar:30} {pos}/{len} {msg}");
                let mut draw = |step| draw(&bar, step);
                let reports = rebuild(&place, &families, uuid::Uuid::new_v4(), &mut draw).await;
                bar.finish_and_clear();
                reports?
            };
            if json { print_json(out, &reports) } else { print_reports(out, &reports) }
        }
    }
}

fn print_list(out: &mut impl Write, listed: &[Listed]) -> Result<(), AnyError> {
    writeln!(out, "{:<10} {:>10} {:>12} {:>8} {:>12}", "name", "generation", "position", "lag", "rows")?;
    for row in listed {
        let (name, generation, position, lag, rows) =
            (row.name, row.generation, row.position, row.lag, row.rows);
        writeln!(out, "{name:<10} {generation:>10} {position:>12} {lag:>8} {rows:>12}")?;
        if let Some((filling, at)) = row.filling {
            writeln!(out, "{:<10} {filling:>10} {at:>12}   (not live)", "")?;
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "seconds for people")]
fn print_reports(out: &mut impl Write, reports: &[Report]) -> Result<(), AnyError> {
    for report in reports {
        let names = report.projections.join(", ");
        let (position, replaces) = (report.position, report.replaces);
        let Some(live) = report.live else {
            writeln!(out, "{names}: would be filled to {position} and replace generation {replaces}")?;
            continue;
        };
        let seconds = report.micros as f64 / 1e6;
        let same = match &report.different[..] {
            [] => "the same rows as before".to_owned(),
            different => format!("other rows than before in {}", different.join(", ")),
        };
        let events = report.events;
        writeln!(out, "{names}: generation {live} is live, {events} events in {seconds:.1} s, {same}")?;
    }
    Ok(())
}

fn draw(bar: &ProgressBar, step: Step) -> ControlFlow<()> {
    bar.set_length(step.target.0);
    bar.set_position(step.position.0);
    let left = step.eta_seconds.map(|seconds| format!(", {seconds:.0} s left")).unwrap_or_default();
    bar.set_message(format!("{:.0} events/s{left}", step.rate));
    ControlFlow::Continue(())
}
