//! `lockstepd log`: the words and the bar; `operate::log` and `operate::lives` do the work.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::Subcommand;

use super::{AnyError, ended::Usage, shown::bar};
use crate::{
    app,
    clock::SystemClock,
    config::Config,
    erasure::scan,
    operate::{
        lives,
        log::{Audit, Known, Verified, counted, verify},
    },
};

#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Read the whole log: no event is missing, moved or changed, and it has all that this server has served of it. Exit
    /// code 1 otherwise. The server may run.
    Verify {
        /// Print JSON, with the end of every stream: keep it for --since.
        #[arg(long)]
        json: bool,
        /// An earlier --json output: the log still has what it had then.
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
        /// Say nothing of a log that is whole: the exit code does.
        #[arg(long, short, conflicts_with = "json")]
        quiet: bool,
    },
    /// Say that a backup of the log was put back: every stream begins another life, and devices offer again what the backup
    /// does not have. Before the first start; every server is stopped.
    Restored,
}

/// Runs the command.
///
/// # Errors
/// Whatever it meets; a log that is not whole.
pub async fn run(
    command: LogCommand,
    config: &Config,
    out: &mut (impl Write + Send),
) -> Result<(), AnyError> {
    let LogCommand::Verify { json, since, quiet } = command else { return restored(config, out).await };
    let since = since.as_deref().map(audit).transpose()?;
    let log = app::log_alone(config).await?;
    let mark = scan::mark(&config.key_path()).filter(|mark| !mark.restored);
    let known = Known { mark, reads: app::read_position(config).await, since };
    let bar = bar("{bar:30} {pos}/{len} {per_sec}, {eta} left");
    let found = verify(&*log, &known, &mut |at, target| {
        bar.set_length(target.0);
        bar.set_position(at.0);
    })
    .await;
    bar.finish_and_clear();
    let found = found?;
    if json {
        // On one line, as it is made: a large log has many streams.
        let mut out = BufWriter::new(&mut *out);
        serde_json::to_writer(&mut out, &found)?;
        writeln!(out)?;
        out.flush()?;
    } else if !quiet || found.faulty > 0 {
        print(&found, out)?;
    }
    if found.faulty == 0 {
        Ok(())
    } else {
        Err(format!("the log is not whole: {}", counted(found.faulty)).into())
    }
}

/// What `--json` has printed.
fn audit(file: &Path) -> Result<Audit, AnyError> {
    let shown = file.display();
    let text = File::open(file).map_err(|error| Usage(format!("cannot read {shown}: {error}")))?;
    let audit: Audit = serde_json::from_reader(BufReader::new(text))
        .map_err(|error| Usage(format!("{shown} is not what `log verify --json` prints: {error}")))?;
    if audit.is_whole() {
        Ok(audit)
    } else {
        Err(format!("{shown} was changed: its hash is another one").into())
    }
}

async fn restored(config: &Config, out: &mut (impl Write + Send)) -> Result<(), AnyError> {
    let (log, _held) = app::log_held(config).await?;
    let streams = lives::renew(&*log, &SystemClock).await?;
    scan::say_restored(&config.key_path())?;
    Ok(writeln!(
        out,
        "{streams} streams of accounts and vaults begin another life: devices offer again what the log does not have"
    )?)
}

fn print(found: &Verified, out: &mut impl Write) -> Result<(), AnyError> {
    for fault in &found.faults {
        writeln!(out, "{} ({} at {}): {}", fault.position, fault.stream, fault.seq, fault.what)?;
    }
    for what in found.rows.iter().chain(&found.differs) {
        writeln!(out, "{what}")?;
    }
    let Verified { events, streams, followed, contents, sealed, .. } = found;
    let Audit { log_id, position, hash, .. } = &found.audit;
    let others = streams - followed;
    writeln!(
        out,
        "{events} events of {followed} streams of accounts and vaults and {others} of the server's own up to {position}, \
         {contents} ciphertexts and {sealed} sealed parts with them"
    )?;
    let verdict = if found.faulty == 0 { " is whole" } else { "" };
    Ok(writeln!(out, "Log {log_id}{verdict}, SHA-256 of where it and its streams end: {hash}")?)
}
