//! `lockstepd subject`: what there is about a person, and its end. For requests that come by letter.

use std::{io::Write, path::PathBuf, sync::Arc};

use clap::Subcommand;
use lockstep_events::{AccountId, Clock, EventId, event::AskedBy};
use serde_json::json;
use uuid::Uuid;

use super::AnyError;
use crate::{
    app,
    batcher::Batcher,
    clock::SystemClock,
    commands::erase::{Desk, Erasure, RequestErasure},
    config::Config,
};

#[derive(Debug, Subcommand)]
pub enum SubjectCommand {
    /// Write everything that there is about a person, one JSON object a line, the last one a signed manifest.
    Export {
        /// The account.
        account: AccountId,
        /// A file; it must not exist. Without it: standard output.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Erase a person for good. A running server does it within seconds, else the next one that starts.
    Erase {
        /// The account.
        account: AccountId,
        /// Why; it is sealed, and the person can see it as long as they are there.
        #[arg(long)]
        reason: String,
        /// Hours in which it can still be called off.
        #[arg(long, default_value_t = 0)]
        wait_hours: u32,
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
pub async fn run(
    command: SubjectCommand,
    config: &Config,
    out: &mut (impl Write + Send),
) -> Result<(), AnyError> {
    match command {
        SubjectCommand::Export { account, out: Some(file) } => {
            let mut file = std::fs::File::options().write(true).create_new(true).open(file)?;
            export(account, config, &mut file).await?;
            Ok(file.sync_all()?)
        }
        SubjectCommand::Export { account, out: None } => export(account, config, out).await,
        SubjectCommand::Erase { account, reason, wait_hours, dry_run, json } => {
            let tools = app::subject_tools(config).await?;
            let due_at = SystemClock.now().plus_seconds(i64::from(wait_hours) * 3600);
            let state = Erasure::of(&*tools.log, account).await?.state;
            if !dry_run {
                let batcher = Batcher::start(Arc::clone(&tools.log), Arc::new(SystemClock), |_| {});
                let desk = Desk {
                    log: tools.log,
                    batcher,
                    subjects: Arc::clone(&tools.exporter.subjects),
                    erasures: tools.erasures,
                };
                let request = RequestErasure {
                    account,
                    actor: None,
                    by: AskedBy::Operator,
                    reason: Some(reason),
                    due_at,
                    event_id: EventId(Uuid::new_v4()),
                };
                let asked = request.run(&desk).await;
                desk.batcher.shutdown().await;
                asked?;
            }
            if json {
                let told = json!({ "account": account, "before": format!("{state:?}"), "dry_run": dry_run });
                return Ok(writeln!(out, "{told}")?);
            }
            let would = if dry_run { "would be" } else { "will be" };
            Ok(writeln!(out, "{account} {would} erased, {wait_hours} hours from now")?)
        }
    }
}

async fn export(account: AccountId, config: &Config, out: &mut (impl Write + Send)) -> Result<(), AnyError> {
    let tools = app::subject_tools(config).await?;
    let mut lines = tools.exporter.start(account, tools.signer);
    let mut last = Vec::new();
    while let Some(line) = lines.recv().await {
        out.write_all(&line)?;
        last = line.to_vec();
    }
    if last.starts_with(br#"{"part":"manifest""#) {
        Ok(())
    } else {
        Err("the export broke off; see the log".into())
    }
}
