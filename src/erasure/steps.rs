//! What each step does. Every one may be repeated, whole or from its middle.

use std::time::Duration;

use lockstep_events::{
    AccountId, BlobHash, DeviceId, Epoch, Event, NewEvent, Outcome, Seq, StreamId, StreamKind, Unit, VaultId,
    event::{AccountEvent, ErasedCounts, RevokeReason, SubjectErased, VaultErased, VaultEvent},
    log::{Contents, SealedParts, StreamExpect},
};
use lockstep_projections::WaitError;

use super::{ErasureError, shred_list::Shred};
use crate::{
    commands::{
        end_access::{EndAccess, EndAccessError},
        erase::event_of,
        facts::{Actor, claim, derived, existing_account},
    },
    mail::kept,
    state::Server,
    subjects::{Purpose, holding::Person},
};

/// The step that waits for the read models.
const FORGET: u8 = 8;
const PAGE: usize = 500;
/// Streams that are closed in one unit.
const AT_ONCE: usize = 100;
/// The read models are waited for so long while they do not move; then the step is repeated later.
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn run(
    server: &Server,
    account: AccountId,
    step: u8,
    mut counts: ErasedCounts,
) -> Result<ErasedCounts, ErasureError> {
    match step {
        // Twice, and what is in flight is given time between: nobody comes in through a door that closes.
        2 | 3 => {
            counts.rows += erase_rows(server, account).await?;
            counts.sessions += end_sessions(server, account, step).await?;
            // The last letter was written a step before, and is there for some minutes.
            if step == 3 {
                forget_letters(server, account).await?;
            }
        }
        4 => {
            let (contents, blobs) = delete_ciphertexts(server, account).await?;
            counts.contents += contents;
            counts.blobs += blobs;
        }
        5 => drop(server.subjects.destroy(account, &erased_purposes()).await?),
        6 => counts.sealed += delete_sealed(server, account).await?,
        7 => append_erased(server, account, &counts).await?,
        FORGET => forget(server).await?,
        _ => last_look(server, account).await?,
    }
    Ok(counts)
}

/// All purposes but those that the law holds.
fn erased_purposes() -> Vec<Purpose> {
    Purpose::ALL.into_iter().filter(|purpose| !purpose.is_held()).collect()
}

async fn end_sessions(server: &Server, account: AccountId, step: u8) -> Result<u64, ErasureError> {
    forget(server).await?;
    let sessions = server.reads.sessions(account).await?;
    let open = sessions.iter().filter(|row| row.revoked.is_none()).count() as u64;
    let cause = format!("erasure, step {step}").into_bytes();
    let (reason, at) = (RevokeReason::Deletion, server.clock.now());
    let end = EndAccess { account, reason, keep: None, actor: None, cause, at };
    match end.run(server).await {
        // An account whose stream was never begun, or that a restore took away, has none.
        Ok(_) | Err(EndAccessError::NoAccount) => Ok(open),
        Err(EndAccessError::Log(error)) => Err(error.into()),
        Err(EndAccessError::Credentials(error)) => Err(error.into()),
    }
}

/// From here on there is no way back, also not by a restore.
async fn erase_rows(server: &Server, account: AccountId) -> Result<u64, ErasureError> {
    let person = Person { account, vaults: server.members.vaults(account).await? };
    let shred = Shred::Subject { account, vaults: person.vaults.clone() };
    server.shred_list.add(&shred, server.clock.now())?;
    let streams = person.vaults.iter().map(|vault| StreamId::from(*vault));
    server.served.forget(&streams.chain([account.into()]).collect::<Vec<_>>());
    let mut rows = 0;
    for holding in &server.holdings {
        rows += holding.erase(&person).await?;
    }
    Ok(rows)
}

async fn delete_ciphertexts(server: &Server, account: AccountId) -> Result<(u64, u64), ErasureError> {
    let (mut contents, mut blobs) = (0, 0);
    for vault in server.members.vaults(account).await? {
        let mut after = Seq::ZERO;
        loop {
            let page = server.log.read_stream(vault.into(), after, PAGE, Contents::No).await?;
            after = page.last().map_or(after, |last| last.seq);
            let hashes: Vec<BlobHash> = page
                .iter()
                .filter_map(|recorded| match recorded.event() {
                    Ok(Event::Vault(VaultEvent::VersionAdded(added))) => Some(added),
                    _ => None,
                })
                .flat_map(|added| added.contents().collect::<Vec<_>>())
                .collect();
            contents += server.log.erase_contents(vault.into(), &hashes, Seq(u64::MAX)).await?;
            if page.len() < PAGE {
                break;
            }
        }
        // Also those that no event names: uploaded, and never pushed.
        blobs += server.shelf.clear(vault).await?;
        server.uploads.clear(vault).await?;
        server.entries.forget(vault);
    }
    Ok((contents, blobs))
}

/// Where letters are files, they name the address.
async fn forget_letters(server: &Server, account: AccountId) -> Result<(), ErasureError> {
    kept::forget(&server.config.mail_folder(), |about| about == account).await?;
    Ok(())
}

async fn delete_sealed(server: &Server, account: AccountId) -> Result<u64, ErasureError> {
    let purposes = erased_purposes().into_iter().map(|purpose| purpose.name().to_owned()).collect();
    Ok(server.log.erase_sealed(&SealedParts::Of(account, purposes)).await?)
}

async fn append_erased(
    server: &Server,
    account: AccountId,
    counts: &ErasedCounts,
) -> Result<(), ErasureError> {
    let vaults = server.members.vaults(account).await?;
    for some in vaults.chunks(AT_ONCE) {
        let streams = some
            .iter()
            .map(|vault| claim((*vault).into(), StreamKind::Vault, StreamExpect::Exists, Epoch::ZERO));
        let events = some.iter().map(|vault| vault_erased(*vault, account)).collect::<Result<_, _>>()?;
        append(server, streams.collect(), events).await?;
    }
    // Destroying again gives the ids again.
    let keys = server.subjects.destroy(account, &erased_purposes()).await?;
    let body = SubjectErased { account, vaults, keys, counts: counts.clone() };
    let id = derived("lockstep/v1/subject-erased", &[account.as_bytes()]);
    let event = event_of(None, account, id, AccountEvent::SubjectErased(body))?;
    append(server, vec![existing_account(account)], vec![event]).await
}

fn vault_erased(vault: VaultId, account: AccountId) -> Result<NewEvent, lockstep_events::LogError> {
    let id = derived("lockstep/v1/vault-erased", &[vault.as_bytes()]);
    let body = Event::Vault(VaultEvent::Erased(VaultErased { vault, account }));
    let by = Actor { account, device: DeviceId::NIL };
    let event = by.event_in(StreamId::from(vault), id, None, &body)?;
    Ok(NewEvent { actor: None, device: None, ..event })
}

/// Appends; what stands already, also with another body, stays. A stream that is not there has nothing to say.
async fn append(
    server: &Server,
    streams: Vec<lockstep_events::log::StreamClaim>,
    events: Vec<NewEvent>,
) -> Result<(), ErasureError> {
    match server.batcher.append(Unit { streams, events, ..Unit::default() }).await? {
        Outcome::Appended(_) | Outcome::IdReused(_) | Outcome::Conflict(_) | Outcome::Missing(_) => Ok(()),
    }
}

/// The read models fold `vault.erased` and `account.subject_erased` into nothing but two stones.
///
/// Behind a restore they may have the whole log before them.
async fn forget(server: &Server) -> Result<(), ErasureError> {
    let tail = server.log.tail().await?.position;
    loop {
        let before = server.progress.positions();
        let waited = server.progress.wait_for(tail, PATIENCE).await;
        let moved = before != server.progress.positions();
        match waited {
            Err(WaitError::Timeout { .. }) if moved => {}
            waited => return Ok(waited?),
        }
    }
}

/// Whatever came after its step, by somebody who was still at work: a place that was written behind, an object that a
/// sweep was just rewriting. Then: what was deleted is in no journal and no free page.
async fn last_look(server: &Server, account: AccountId) -> Result<(), ErasureError> {
    erase_rows(server, account).await?;
    delete_ciphertexts(server, account).await?;
    forget_letters(server, account).await?;
    for holding in &server.holdings {
        holding.scrub().await?;
    }
    server.reads.scrub().await?;
    Ok(server.log.scrub().await?)
}
