//! Erasing people: nine steps, each of which may be repeated, so that a crash anywhere costs nothing but time.
//!
//! 1 asked for (`commands::erase`) · 2 begun (`commands::begin_erasure`), the person told, on the shred list, rows about the person deleted, sessions ended · 3 the same
//! again, when everybody who was let in before is out · 4 ciphertexts deleted, of all versions · 5 keys destroyed · 6 sealed parts of events deleted ·
//! 7 `vault.erased` and `account.subject_erased` appended · 8 the read models have forgotten · 9 what
//! came late deleted, files scrubbed, off the queue.
//!
//! From the event on by which step 2 begins there is no way back: what a restored database brings back is erased again (`restore`).

pub mod queue;
pub mod restore;
pub mod scan;
pub mod shred_list;
mod steps;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use lockstep_events::{AccountId, LogError, event::ErasedCounts, log::SealedParts};
use lockstep_projections::{ReadError, WaitError};
use tokio::time::error::Elapsed;

use self::{queue::Job, shred_list::ShredListError};
use crate::{
    auth::{attempt, credentials::CredentialError},
    blobs::BlobError,
    commands::{
        begin_erasure,
        erase::{EraseError, ErasureState, GRACE_S},
        purge::PurgeError,
    },
    mail::worker,
    state::Server,
    subjects::{Purpose, SubjectError, keys::KeyStoreError},
};

/// The last step.
pub const LAST_STEP: u8 = 9;
/// Who works on a step has so long before another one may take it over, in seconds.
const CLAIM_S: i64 = 600;
/// A step that failed is done again after so long, in seconds: others have their turn before.
const RETRY_S: i64 = 30;

/// Why a step could not be done now; it is done again later.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The read models did not answer.
    #[error(transparent)]
    Reads(#[from] ReadError),
    /// The read models are too far behind.
    #[error(transparent)]
    Behind(#[from] WaitError),
    /// The credential store did not answer.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The blob store did not answer.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The store of keys did not answer.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// Keys could not be destroyed.
    #[error(transparent)]
    Subjects(#[from] SubjectError),
    /// The shred list cannot be written.
    #[error(transparent)]
    List(#[from] ShredListError),
    /// A database is there and gives no answer.
    #[error("a database does not answer")]
    Silent(#[from] Elapsed),
    /// The log is an older one and the list was cut: neither says what was erased between.
    #[error(
        "the log was restored, and lines of the shred list {list} are gone: what they named would be back. \
         Put the list back from its backup; if there is none, remove shred-scan.json beside it to start without them"
    )]
    Forgotten {
        /// The list.
        list: String,
    },
    /// Erasures could not be put off, or not begun.
    #[error(transparent)]
    PutOff(#[from] EraseError),
    /// An entry could not be purged again.
    #[error(transparent)]
    Purge(#[from] PurgeError),
    /// Parts of uploads, or letters, cannot be deleted.
    #[error("parts of uploads, or letters in the mail folder, cannot be deleted")]
    Files(#[from] std::io::Error),
    /// The file beside the shred list cannot be written.
    #[error("cannot write {path}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Where the shred list lies: beside the key file.
pub fn list_path(key_file: &Path) -> PathBuf {
    key_file.with_file_name("shred-list.jsonl")
}

/// Does every step that is due, of every erasure; how many steps that were. One that cannot go on does not hold up the
/// others.
///
/// # Errors
/// The first, if something did not answer; what is left is done at the next call, by this node or another one.
pub async fn run_due(server: &Server) -> Result<u32, ErasureError> {
    let (mut steps, mut failed) = (0, HashSet::new());
    let mut first = None;
    loop {
        let now = server.clock.now();
        let Some(job) = server.erasures.claim(now, now.plus_seconds(CLAIM_S)).await? else {
            return first.map_or(Ok(steps), Err);
        };
        let later = Job { due_at: now.plus_seconds(RETRY_S), ..job.clone() };
        if failed.contains(&job.account) {
            server.erasures.note(&later).await?;
            return first.map_or(Ok(steps), Err);
        }
        match step(server, job).await {
            Ok(Some(next)) if next.step <= LAST_STEP => server.erasures.note(&next).await?,
            Ok(Some(_) | None) => server.erasures.done(later.account).await?,
            Err(error) => {
                server.erasures.note(&later).await?;
                failed.insert(later.account);
                first.get_or_insert(error);
                continue;
            }
        }
        steps += 1;
    }
}

/// Does the next step of an erasure, and gives what is left; none: it was called off.
///
/// # Errors
/// If something did not answer. The step may be half done; it is repeated whole.
pub async fn step(server: &Server, job: Job) -> Result<Option<Job>, ErasureError> {
    let now = server.clock.now();
    if job.step == 2 {
        match begin_erasure::begin(&server.desk(), job.account, now).await? {
            ErasureState::Begun(_) => worker::farewell(server, job.account).await?,
            ErasureState::Due(due) => {
                return Ok(Some(Job { due_at: due.plus_seconds(GRACE_S), ..job }));
            }
            ErasureState::None | ErasureState::Erased => return Ok(None),
        }
    }
    let counts = steps::run(server, job.account, job.step, job.counts.clone()).await?;
    tracing::info!(step = job.step, "a step of an erasure is done");
    // Requests, logins and enrolments that were let in before are over when the next step begins.
    let wait = if job.step == 2 { let_in(server) } else { 0 };
    Ok(Some(Job { step: job.step + 1, due_at: now.plus_seconds(wait), counts, ..job }))
}

/// For how long somebody may still come in who was let in already, in seconds.
fn let_in(server: &Server) -> i64 {
    let request = i64::try_from(server.config.request_timeout_s).unwrap_or(i64::MAX / 2_000_000);
    attempt::LIFE_S + i64::from(server.config.access_token_s) + request + 1
}

/// Everything at once, for somebody whom a restored database brought back. Nobody is served meanwhile.
async fn again(server: &Server, account: AccountId) -> Result<(), ErasureError> {
    let mut counts = ErasedCounts::default();
    for step in 2..=LAST_STEP {
        counts = steps::run(server, account, step, counts).await?;
    }
    server.erasures.done(account).await?;
    Ok(())
}

/// Turns the epochs of keys, and erases personal data whose time is over.
///
/// # Errors
/// If something does not answer; it is done at the next call.
pub async fn expire(server: &Server) -> Result<(), ErasureError> {
    server.subjects.turn_epochs().await?;
    server.subjects.expire().await?;
    for purpose in Purpose::ALL {
        if let Some(period) = purpose.first_kept(server.clock.now()) {
            let which = SealedParts::Before { purpose: purpose.name().to_owned(), period };
            server.log.erase_sealed(&which).await?;
        }
    }
    Ok(())
}
