//! `lockstepd subject`: what there is about a person, and its end. For requests that come by letter.

use std::{io::Write, path::PathBuf, sync::Arc};

use clap::Subcommand;
use lockstep_events::{AccountId, Clock, EventId, Micros, event::AskedBy};
use serde_json::json;
use uuid::Uuid;

use super::{AnyError, shown::at};
use crate::{
    app::{self, SubjectTools},
    batcher::Batcher,
    clock::SystemClock,
    commands::{
        admin::is_reason,
        erase::{Desk, Erasure, RequestErasure},
        export_account::{ExportAccount, ExportRefused},
    },
    config::Config,
    export::ExportError,
    private_file,
};

#[derive(Debug, Subcommand)]
pub enum SubjectCommand {
    /// Write everything that there is about a person, one JSON object a line, the last one a signed manifest. Where the
    /// blob store has lost something, a line says so, and the exit code is 1 though all the rest is written.
    Export {
        /// The account: its id, or the name or address that it is registered under
        person: String,
        /// Why; it is sealed, and the person sees it in the log of their account, which has the export before there is one.
        #[arg(long, value_parser = reason)]
        reason: String,
        /// A file; it must not exist, and only its owner may read it. Without it: standard output.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Erase a person for good. When the time to call it off is over, a running server does it within seconds, else the
    /// next one that starts.
    Erase {
        /// The account: its id, or the name or address that it is registered under
        person: String,
        /// Why; it is sealed, and the person can see it as long as they are there.
        #[arg(long)]
        reason: String,
        /// Hours in which it can still be called off; without it, those of the option `erasure_wait_hours`. With 0 it
        /// begins at once.
        #[arg(long, value_parser = clap::value_parser!(u32).range(0..=720))]
        wait_hours: Option<u32>,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Why something is done, as administrators say it too.
fn reason(text: &str) -> Result<String, &'static str> {
    if is_reason(text) { Ok(text.to_owned()) } else { Err("1 to 500 bytes of text are a reason") }
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
    let tools = app::subject_tools(config).await?;
    match command {
        SubjectCommand::Export { person, reason, out: Some(path) } => {
            let account = account(&tools, &person).await?;
            let failed = |error: std::io::Error| format!("{}: {error}", path.display());
            let taken = || failed(std::io::ErrorKind::AlreadyExists.into());
            if path.symlink_metadata().is_ok() {
                return Err(taken().into());
            }
            private_file::sweep_at_once(&path);
            // Half an export must not be taken for a whole one: it takes its place when it is whole.
            let mut file = private_file::Begun::beside(&path).map_err(failed)?;
            let lost = export((account, reason), tools, &mut file).await?;
            if !file.take().map_err(failed)? {
                return Err(taken().into());
            }
            complete(lost)
        }
        SubjectCommand::Export { person, reason, out: None } => {
            let account = account(&tools, &person).await?;
            let lost = export((account, reason), tools, out).await?;
            out.flush()?;
            complete(lost)
        }
        SubjectCommand::Erase { person, reason, wait_hours, dry_run, json } => {
            let account = account(&tools, &person).await?;
            let wait_s = wait_hours.map_or(config.erasure_wait_s(), |hours| i64::from(hours) * 3600);
            let wanted = SystemClock.now().plus_seconds(wait_s);
            let before = Erasure::to_ask_for(&*tools.log, account).await?.state;
            let due_at = if dry_run {
                before.due_if_asked(wanted)?
            } else {
                erase(tools, account, reason, wanted).await?
            };
            if json {
                let told = json!({
                    "account": account,
                    "before": before.word(),
                    "before_due_at": before.due(),
                    "due_at": due_at,
                    "dry_run": dry_run,
                });
                return Ok(writeln!(out, "{told}")?);
            }
            let would = if dry_run { "would be" } else { "will be" };
            Ok(writeln!(out, "{account} {would} erased, from {} on", at(due_at.seconds()))?)
        }
    }
}

fn batcher(tools: &SubjectTools) -> Batcher {
    Batcher::start(Arc::clone(&tools.log), Arc::new(SystemClock), |_| {})
}

/// Asks for the erasure; when it begins. That may be earlier than wanted: asking again puts nothing off.
async fn erase(
    tools: SubjectTools,
    account: AccountId,
    reason: String,
    wanted: Micros,
) -> Result<Micros, AnyError> {
    let desk = Desk {
        batcher: batcher(&tools),
        log: tools.log,
        subjects: Arc::clone(&tools.exporter.subjects),
        erasures: tools.erasures,
    };
    let request = RequestErasure {
        account,
        actor: None,
        by: AskedBy::Operator,
        reason: Some(reason),
        due_at: wanted,
        event_id: EventId(Uuid::new_v4()),
    };
    let asked = request.run(&desk).await;
    desk.batcher.shutdown().await;
    Ok(asked?.0)
}

/// Whom a letter means. The server itself knows names and addresses as keyed hashes only.
async fn account(tools: &SubjectTools, person: &str) -> Result<AccountId, AnyError> {
    if let Ok(account) = person.parse::<AccountId>() {
        let known = tools.log.stream_heads(&[account.into()]).await?;
        return if known.is_empty() {
            Err(format!("there is no account {account}").into())
        } else {
            Ok(account)
        };
    }
    let found = tools.exporter.addresses.account_of(tools.keys.name_index(person)).await?;
    found.ok_or_else(|| {
        "nobody is registered under this name or address; who was erased is found by the account's id only".into()
    })
}

/// Writes an export; how many long ciphertexts the blob store has lost.
async fn export(
    (account, reason): (AccountId, String),
    tools: SubjectTools,
    out: &mut (impl Write + Send),
) -> Result<u64, AnyError> {
    let asked = ExportAccount { account, actor: None, by: AskedBy::Operator, reason: Some(reason) };
    let batcher = batcher(&tools);
    let written = asked.run(&batcher, &tools.exporter.subjects).await;
    batcher.shutdown().await;
    written.map_err(Unwritten)?;
    let (mut lines, done) = tools.exporter.begin(account, tools.signer);
    while let Some(line) = lines.recv().await {
        out.write_all(&line)?;
    }
    Ok(done.await?.map_err(BrokeOff)?)
}

/// Why no export is begun.
#[derive(Debug, thiserror::Error)]
#[error(
    "nothing is exported: an export is written into the log before it begins, also into that of a backup, and this failed"
)]
struct Unwritten(#[source] ExportRefused);

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
#[error("the export broke off")]
struct BrokeOff(#[source] ExportError);

/// An export that lacks something is written, and is told apart from a whole one all the same.
fn complete(lost: u64) -> Result<(), AnyError> {
    if lost == 0 {
        return Ok(());
    }
    let told = format!(
        "the export is written, but the blob store has lost {lost} long ciphertexts: see its lines with \"part\":\"lost\""
    );
    Err(told.into())
}
