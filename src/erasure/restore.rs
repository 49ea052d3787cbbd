//! The restore rule: before the server serves, what was erased once is erased again, wherever a restored backup
//! brought it back, and every stream begins another life.

use std::collections::HashSet;

use lockstep_events::{AccountId, EntryId, VaultId, graph::Heads};

use super::{ErasureError, again, list_path, scan, shred_list::Shred};
use crate::{
    causes::with_causes,
    commands::{facts::derived, put_off_erasure},
    no_room::is_full,
    operate::lives,
    state::Server,
    subjects::{
        Purpose,
        holding::Person,
        keys::{KeyName, Standing},
    },
};

/// What was done at the start of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reapplied {
    /// The log was restored since it was last read.
    pub restored: bool,
    /// People who were erased again.
    pub people: u64,
    /// Entries that were purged again.
    pub entries: u64,
    /// Erasures that were put off: whoever called one off after the backup can do so again.
    pub put_off: u64,
}

/// Erases again what is on the shred list and came back.
///
/// # Errors
/// If something does not answer, or if neither log nor list knows what was erased: the server does not start then.
pub async fn reapply(server: &Server) -> Result<Reapplied, ErasureError> {
    let mark = scan::mark(&server.config.key_path());
    let restored = match &mark {
        Some(mark) => scan::is_restored(server, mark).await? || lacks_a_purge(server).await?,
        None => lacks_a_purge(server).await?,
    };
    let cut = mark.as_ref().map_or(Ok(false), |mark| scan::is_cut(server, mark))?;
    if cut && restored {
        let list = list_path(&server.config.key_path());
        return Err(ErasureError::Forgotten { list: list.display().to_string() });
    }
    if restored {
        let known = mark.map(|mark| mark.renewed).unwrap_or_default();
        match lives::renew_once(&*server.log, known, &*server.clock).await? {
            Some(streams) => {
                tracing::warn!(streams, "the log was restored: every stream begins another life");
            }
            None => tracing::warn!("the log was restored: every stream has begun another life already"),
        }
        // A start that is cut off below does it all again.
        scan::note_restored(&server.config.key_path(), &*server.log).await?;
    }
    if cut {
        tracing::warn!("lines of the shred list are gone: they are made again from the log");
    }
    let read = scan::scan(server, mark.filter(|_| !restored && !cut)).await;
    unless_away(if restored || cut { read } else { unless_full(read) })?;
    let mut done = Reapplied { restored, ..Reapplied::default() };
    let mut people = HashSet::new();
    for shred in server.shred_list.all() {
        match shred {
            Shred::Subject { account, .. } if people.insert(account) => {
                if is_back(server, account).await? {
                    again(server, account).await?;
                    done.people += 1;
                }
            }
            Shred::Entry { vault, entry } if restored => {
                done.entries += u64::from(purge_again(server, vault, entry).await?);
            }
            Shred::Subject { .. } | Shred::Entry { .. } => {}
        }
    }
    if restored {
        done.put_off = put_off(server).await?;
        // What was appended just now is part of what was read.
        unless_away(scan::settle(server).await)?;
    }
    if done.people + done.entries > 0 {
        // Also what the restored journals had.
        server.log.scrub().await?;
        tracing::warn!(
            people = done.people,
            entries = done.entries,
            "a restore brought erased data back: erased again"
        );
    }
    Ok(done)
}

/// Tells whoever is to be erased once more, and gives the time again in which it can be called off.
async fn put_off(server: &Server) -> Result<u64, ErasureError> {
    // By whichever clock is ahead: one that is behind would put nothing off, and a node whose clock is right would begin.
    let here = server.clock.now();
    let now = server.credentials.clock().await?.map_or(here, |there| there.max(here));
    let until = now.plus_seconds(server.config.erasure_wait_s());
    let people = put_off_erasure::put_off(&server.desk(), until).await?;
    if people > 0 {
        tracing::warn!(
            people,
            "the log was restored: erasures that were due begin after erasure_wait_hours, as some may have been called off"
        );
    }
    Ok(people)
}

/// Purges that cannot be finished because a store is away are no reason not to serve: they are soon.
fn unless_away(read: Result<(), ErasureError>) -> Result<(), ErasureError> {
    match read {
        Err(ErasureError::Purge(error)) => {
            tracing::warn!(cause = %error, "what purges left cannot be deleted now; it is tried again");
            Ok(())
        }
        read => read,
    }
}

/// A mark that cannot be moved for want of room stays where it was, and what was read since is read once more: what is
/// stored is served meanwhile. Only where nothing was restored, which it has to say.
fn unless_full(read: Result<(), ErasureError>) -> Result<(), ErasureError> {
    match read {
        Err(ErasureError::File { ref source, .. }) if is_full(source) => {
            let cause = read.err().map(|error| with_causes(&error));
            tracing::warn!(
                cause,
                "how far the log was read for erasures cannot be noted now; it is tried again"
            );
            Ok(())
        }
        read => read,
    }
}

/// Whether anything about an erased person is there. An erasure that is on its way goes on by itself.
async fn is_back(server: &Server, account: AccountId) -> Result<bool, ErasureError> {
    if server.erasures.find(account).await?.is_some_and(|job| job.step > 2) {
        return Ok(false);
    }
    let name = KeyName { subject: account, purpose: Purpose::Identity, period: String::new() };
    if server.subjects.store().find(&name).await? != Standing::Destroyed {
        return Ok(true);
    }
    let person = Person { account, vaults: server.members.vaults(account).await? };
    for holding in &server.holdings {
        if !holding.held(&person).await?.is_empty() {
            return Ok(true);
        }
    }
    let erased = derived("lockstep/v1/subject-erased", &[account.as_bytes()]);
    let heads = server.log.stream_heads(&[account.into()]).await?;
    Ok(!heads.is_empty() && server.log.find(&[erased]).await?.is_empty())
}

/// Whether the newest purge on the list is not in the log: then it was restored from before.
async fn lacks_a_purge(server: &Server) -> Result<bool, ErasureError> {
    let newest = server.shred_list.all().into_iter().rev().find_map(|shred| match shred {
        Shred::Entry { vault, entry } => Some((vault, entry)),
        Shred::Subject { .. } => None,
    });
    let Some((vault, entry)) = newest else { return Ok(false) };
    Ok(!server.entries.refresh(vault, entry, Heads::default()).await?.purged)
}

async fn purge_again(server: &Server, vault: VaultId, entry: EntryId) -> Result<bool, ErasureError> {
    Ok(server.purger.purge_again(vault, entry).await?)
}
