//! `lockstepd log`: the words and the bar; `operate::log` and `operate::lives` do the work.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use indicatif::ProgressBar;
use lockstep_events::{Clock, EventLog, Position};

use super::{AnyError, ended::Usage, shown::bar};
use crate::{
    app,
    clock::SystemClock,
    config::Config,
    erasure::scan,
    operate::{
        lives,
        log::{Audit, ExportError, FileError, Known, Verified, counted, export, verify, verify_file},
    },
    private_file,
};

const BAR: &str = "{bar:30} {pos}/{len} {per_sec}, {eta} left";

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
        /// Read what `log export` wrote in place of a server's log, which need not be here; - for standard input. The hash is
        /// the one that the log itself has.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Write the whole log as it is, one JSON object a line, for somebody who verifies it without this server. It is looked
    /// at as `verify` does: exit code 1 if it is not whole, though it is written. The server may run.
    Export {
        /// A file; it must not exist, and only its owner may read it. Without it: standard output.
        #[arg(long, value_name = "FILE", alias = "to")]
        out: Option<PathBuf>,
        /// Also the short ciphertexts and the sealed parts, as far as they are not erased: personal data.
        #[arg(long)]
        contents: bool,
        /// Print what `verify --json` prints.
        #[arg(long, requires = "out")]
        json: bool,
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
    match command {
        LogCommand::Verify { json, since, quiet, file } => {
            let since = since.as_deref().map(audit).transpose()?;
            let found = match file {
                Some(file) => of_file(&file, since)?,
                None => of_log(config, since).await?,
            };
            if json {
                print_json(&found, out)?;
            } else if !quiet || found.faulty > 0 {
                print(&found, out)?;
            }
            verdict(&found)
        }
        LogCommand::Export { out: Some(file), contents, json } => {
            let found = into_file(config, &file, contents).await?;
            if json {
                print_json(&found, out)?;
            } else {
                print(&found, out)?;
            }
            verdict(&found)
        }
        LogCommand::Export { out: None, contents, .. } => {
            let log = app::log_alone(config).await?;
            verdict(&exported(&*log, config, contents, &mut BufWriter::new(out)).await?)
        }
        LogCommand::Restored => restored(config, out).await,
    }
}

/// What is known of the log of these options from before.
async fn known(config: &Config, since: Option<Audit>) -> Known {
    let mark = scan::mark(&config.key_path()).filter(|mark| !mark.restored);
    Known { mark, reads: app::read_position(config).await, since, now: Some(SystemClock.now()) }
}

async fn of_log(config: &Config, since: Option<Audit>) -> Result<Verified, AnyError> {
    let (log, bar) = (app::log_alone(config).await?, bar(BAR));
    let found = verify(&*log, &known(config, since).await, &mut moving(&bar)).await;
    bar.finish_and_clear();
    Ok(found?)
}

fn of_file(file: &Path, since: Option<Audit>) -> Result<Verified, AnyError> {
    let shown = file.display();
    let unread = |error: io::Error| Usage(format!("cannot read {shown}: {error}"));
    let mut from: Box<dyn BufRead> = match file {
        file if file == Path::new("-") => Box::new(io::stdin().lock()),
        file => Box::new(BufReader::with_capacity(1 << 20, File::open(file).map_err(unread)?)),
    };
    let bar = bar(BAR);
    let found = verify_file(&mut *from, since, &mut moving(&bar));
    bar.finish_and_clear();
    Ok(found.map_err(|error| match error {
        FileError::Read(error) => unread(error),
        FileError::Other(_) => Usage(format!("{shown}: {error}")),
    })?)
}

/// Half a log must not be taken for a whole one: it takes its place when it is whole.
async fn into_file(config: &Config, file: &Path, contents: bool) -> Result<Verified, AnyError> {
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    let taken = || failed(io::ErrorKind::AlreadyExists.into());
    if file.symlink_metadata().is_ok() {
        return Err(taken().into());
    }
    let log = app::log_alone(config).await?;
    private_file::sweep_at_once(file);
    let mut begun = BufWriter::new(private_file::Begun::beside(file).map_err(failed)?);
    let found = match exported(&*log, config, contents, &mut begun).await {
        Err(ExportError::Write(error)) => return Err(failed(error).into()),
        found => found?,
    };
    let begun = begun.into_inner().map_err(|error| failed(error.into_error()))?;
    if begun.take().map_err(failed)? { Ok(found) } else { Err(taken().into()) }
}

async fn exported(
    log: &dyn EventLog,
    config: &Config,
    contents: bool,
    out: &mut (impl Write + Send),
) -> Result<Verified, ExportError> {
    let bar = bar(BAR);
    let found = export(log, &known(config, None).await, contents, out, &mut moving(&bar)).await;
    bar.finish_and_clear();
    found
}

fn moving(bar: &ProgressBar) -> impl FnMut(Position, Position) + Send + '_ {
    |at, target| {
        bar.set_length(target.0);
        bar.set_position(at.0);
    }
}

fn verdict(found: &Verified) -> Result<(), AnyError> {
    if found.faulty == 0 {
        Ok(())
    } else {
        Err(format!("the log is not whole: {}", counted(found.faulty)).into())
    }
}

/// On one line, as it is made: a large log has many streams.
fn print_json(found: &Verified, out: &mut (impl Write + Send)) -> Result<(), AnyError> {
    let mut out = BufWriter::new(out);
    serde_json::to_writer(&mut out, found)?;
    writeln!(out)?;
    Ok(out.flush()?)
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
    let is_noted = scan::note_restored(&config.key_path(), &*log).await?;
    writeln!(
        out,
        "{streams} streams of accounts and vaults begin another life: devices offer again what the log does not have"
    )?;
    if !is_noted {
        writeln!(
            out,
            "there is no {}: say this once more where a server has its keys, before it starts, or erasures that were \
             called off after the backup begin",
            config.key_path().display()
        )?;
    }
    Ok(())
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
