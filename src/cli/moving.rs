//! `lockstepd move`: the words, the table and the bar; `operate::moving` does the work.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    AnyError,
    ended::Usage,
    process,
    shown::{bar, print_json},
};
use crate::{
    app,
    config::{Config, Layer},
    operate::moving::{Report, Taken},
};

/// Where to.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// A TOML file with the options of the new place, like that of --config, `data` among them. Neither flags nor the
    /// environment count for it.
    #[arg(long, value_name = "FILE", required_unless_present = "take_back")]
    to: Option<PathBuf>,
    /// Let the server be served again where it was moved from.
    #[arg(long, conflicts_with = "to")]
    take_back: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Whatever it meets.
pub async fn run(args: MoveArgs, config: &Config, out: &mut (impl Write + Send)) -> Result<(), AnyError> {
    let Some(file) = args.to else { return take_back(config, args.json, out).await };
    let to = new_place(&file)?;
    // A path says the same tomorrow only if it is whole.
    let name = std::path::absolute(&file).unwrap_or_else(|_| file.clone()).display().to_string();
    process::prepare(0);
    let opened = app::open_move(config, &to, name).await?;
    let bar = bar("{msg:24} {bar:30} {pos}/{len} {per_sec}");
    let mut what = "";
    let mut draw = |now, at: u64, of: u64| {
        if now != what {
            what = now;
            bar.reset();
            bar.set_message(now);
        }
        bar.set_length(of.max(at));
        bar.set_position(at);
    };
    let report = opened.run(&mut draw).await;
    bar.finish_and_clear();
    let report = report?;
    if args.json { print_json(out, &report) } else { print(&report, &file, out) }
}

/// What the file names. Without its data folder it would be one that this command was not told of: that of wherever it is
/// said, which may be the old place.
fn new_place(file: &Path) -> Result<Config, AnyError> {
    let named = Layer::from_file(file)?;
    if named.data.is_none() {
        return Err(Usage(format!(
            "{} names no `data`: write down which data folder the new place has; the old one's, if that stays",
            file.display()
        ))
        .into());
    }
    Ok(Config::with(named)?)
}

async fn take_back(config: &Config, json: bool, out: &mut (impl Write + Send)) -> Result<(), AnyError> {
    let Some(moved) = app::take_back(config).await? else {
        return Err("this server was not moved: there is nothing to take back".into());
    };
    if json {
        return print_json(out, &moved);
    }
    writeln!(out, "This server may be served here again; stop the one that {} names", moved.to)?;
    if moved.done {
        writeln!(
            out,
            "What was written there since is not here. If anything was, say `lockstepd log restored` before the first start"
        )?;
    }
    Ok(())
}

fn print(report: &Report, file: &Path, out: &mut impl Write) -> Result<(), AnyError> {
    for row in report.tables.iter().filter(|row| row.rows > 0) {
        writeln!(out, "{:<16} {:>12}", row.table, row.rows)?;
    }
    let Report { objects, bytes, already_there, lost, position, log_id, hash, .. } = report;
    writeln!(out, "{:<16} {objects:>12}   {bytes} bytes, {already_there} were there already", "objects")?;
    for (what, taken) in [("key file", report.keys), ("certificate", report.certificate)] {
        let became = match taken {
            Taken::Shared => "the same folder",
            Taken::Copied => "copied",
            Taken::Left => "not copied",
        };
        writeln!(out, "{what:<16} {became:>12}")?;
    }
    writeln!(out, "Log {log_id} up to {position}, SHA-256 of where it and its streams end: {hash}")?;
    if *lost > 0 {
        writeln!(out, "{lost} objects were lost before: `lockstepd blobs verify` names them")?;
    }
    for note in &report.notes {
        writeln!(out, "Note: {note}")?;
    }
    Ok(writeln!(out, "Everything arrived. Next: lockstepd serve --config {}", file.display())?)
}
