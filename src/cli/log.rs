//! `lockstepd log`: the words and the bar; `operate::log` and `operate::lives` do the work.

use std::io::Write;

use clap::Subcommand;

use super::{
    AnyError,
    shown::{bar, print_json},
};
use crate::{
    app,
    config::Config,
    operate::{
        lives,
        log::{Verified, verify},
    },
};

#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Read the whole log: no event is missing, moved or changed. Exit code 1 if one is. The server may run.
    Verify {
        /// Print JSON.
        #[arg(long)]
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
    let LogCommand::Verify { json } = command else { return restored(config, out).await };
    let log = app::log_alone(config).await?;
    let bar = bar("{bar:30} {pos}/{len} {per_sec}, {eta} left");
    let found = verify(&*log, &mut |at, target| {
        bar.set_length(target.0);
        bar.set_position(at.0);
    })
    .await;
    bar.finish_and_clear();
    let found = found?;
    if json {
        print_json(out, &found)?;
    } else {
        print(&found, out)?;
    }
    if found.faulty == 0 {
        Ok(())
    } else {
        Err(format!("the log is not whole: {} faults", found.faulty).into())
    }
}

async fn restored(config: &Config, out: &mut (impl Write + Send)) -> Result<(), AnyError> {
    let log = app::log_alone(config).await?;
    let _alone = app::lock_data(config)?;
    let streams = lives::renew(&*log).await?;
    Ok(writeln!(out, "{streams} streams begin another life: devices offer again what the log does not have")?)
}

fn print(found: &Verified, out: &mut impl Write) -> Result<(), AnyError> {
    for fault in &found.faults {
        writeln!(out, "{} ({} at {}): {}", fault.position, fault.stream, fault.seq, fault.what)?;
    }
    let Verified { events, streams, contents, position, .. } = found;
    Ok(writeln!(
        out,
        "{events} events of {streams} streams up to {position}, {contents} ciphertexts with them"
    )?)
}
