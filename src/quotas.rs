//! Whether a plan has room for what is about to be written. No database is asked on the way of a push, but where
//! another node wrote to the same vault, and before anything is refused.

use std::sync::Arc;

use lockstep_events::{AccountId, BlobHash, Clock, LogError, Seq, VaultId};
use lockstep_projections::{ReadError, ReadStore, rows::VaultRow};

use crate::{
    blobs::{BlobError, BlobIndex, Promise},
    feed::{Amount, Attached, Standings, Usage},
    plans::{History, Plan, PlanBook},
};

/// How often an append that may fail is waited for before room is refused because of it.
const WAITS: usize = 40;

/// A limit of the plan is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Which: `entries`, `storage_bytes`, `devices`, `vaults`.
    pub what: &'static str,
    /// The limit.
    pub limit: u64,
    /// What is used already.
    pub used: u64,
}

/// Why it is not known whether there is room for an upload.
#[derive(Debug, thiserror::Error)]
pub enum UploadRoomError {
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The index of blobs did not answer.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

/// Whether an upload takes its room from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Its bytes may come: they count until a version names them, or they are swept.
    Now,
    /// It is only asked whether they could.
    Later,
}

/// Decides about room.
pub struct Quotas {
    /// The rows.
    pub reads: Arc<dyn ReadStore>,
    /// What waits for a version that counts it.
    pub index: Arc<dyn BlobIndex>,
    /// Who has which plan.
    pub standings: Arc<Standings>,
    /// The counters.
    pub usage: Arc<Usage>,
    /// Which vaults accounts have.
    pub attached: Arc<Attached>,
    /// The plans.
    pub plans: Arc<PlanBook>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Room that was reserved; given back when it is dropped.
pub struct Room<'a> {
    usage: &'a Usage,
    vault: VaultId,
    more: Amount,
    stands: Option<(Seq, u64)>,
}

impl Room<'_> {
    /// What it was reserved for stands: so many events, the last of them here.
    pub fn stands(mut self, last: Seq, events: usize) {
        self.stands = Some((last, events as u64));
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.usage.ended(self.vault, self.more, self.stands);
    }
}

impl Quotas {
    /// The plan of an account now.
    ///
    /// # Errors
    /// If its standing is not known and the log does not answer.
    pub async fn plan(&self, account: AccountId) -> Result<&Plan, LogError> {
        let standing = self.standings.of(account).await?;
        Ok(self.plans.of(&standing, self.clock.now()).1)
    }

    /// For how many days old versions of an account keep their content; `otherwise` where its plan does not say.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub async fn history(&self, account: AccountId, otherwise: u32) -> Result<History, LogError> {
        let (standing, former) = self.standings.with_former(account).await?;
        Ok(self.plans.history(&standing, &former, self.clock.now(), otherwise))
    }

    /// Whether an account holds a plan that the configuration does not have.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub async fn lacks_plan(&self, account: AccountId) -> Result<bool, LogError> {
        let standing = self.standings.of(account).await?;
        Ok(self.plans.lacks_plan(&standing))
    }

    /// Reserves room in a vault; none if the account's plan counts nothing.
    ///
    /// # Errors
    /// If there is none, as `Ok(Err(_))`; if the log does not answer.
    pub async fn reserve(
        &self,
        account: AccountId,
        vault: VaultId,
        more: Amount,
    ) -> Result<Result<Option<Room<'_>>, Exceeded>, LogError> {
        let plan = self.plan(account).await?;
        if plan.entries.is_none() && plan.storage_bytes.is_none() {
            return Ok(Ok(None));
        }
        let vaults = self.vaults(account, vault).await?;
        self.read(&self.usage.unread(&vaults)).await;
        let room = || Room { usage: &self.usage, vault, more, stands: None };
        for round in 0..=WAITS {
            let mut doubtful = false;
            let reserved = self.usage.reserve(&vaults, (vault, more), |used| {
                let full = fits(plan, used.settled + used.appending, more);
                doubtful = full.is_err() && fits(plan, used.settled, more).is_ok();
                full
            });
            match reserved {
                Ok(()) => return Ok(Ok(Some(room()))),
                Err(exceeded) if round == WAITS => return Ok(Err(exceeded)),
                // What stands in the way may still fail.
                Err(_) if doubtful => self.usage.some_end().await,
                Err(exceeded) if round > 0 => return Ok(Err(exceeded)),
                Err(_) => self.read(&vaults).await,
            }
        }
        Ok(Ok(None))
    }

    /// Takes room for blobs that are not there yet, beside all that stands and all that waits: unnamed, or begun. What
    /// a push appends does not ask for what waits, so the two together are at most twice the limit, for a day, or as long
    /// as a file waits that came after its version.
    ///
    /// # Errors
    /// If there is none, as `Ok(Err(_))`; if log or index do not answer.
    pub async fn reserve_upload(
        &self,
        account: AccountId,
        vault: VaultId,
        blobs: &[(BlobHash, u64)],
        take: Take,
    ) -> Result<Result<(), Exceeded>, UploadRoomError> {
        let Some(limit) = self.plan(account).await?.storage_bytes.filter(|_| !blobs.is_empty()) else {
            return Ok(Ok(()));
        };
        let vaults = self.vaults(account, vault).await?;
        self.read(&self.usage.unread(&vaults)).await;
        let more: u64 = blobs.iter().map(|(_, bytes)| bytes).sum();
        for round in 0.. {
            let used = self.usage.used(&vaults);
            let stands = u64::try_from((used.settled + used.appending).bytes).unwrap_or(0);
            let (room, keep) = (limit.saturating_sub(stands), take == Take::Now);
            let asked = Promise { vaults: &vaults, vault, blobs, room, keep, now: self.clock.now() };
            let Err(waiting) = self.index.promise(&asked).await? else { break };
            let exceeded = Exceeded { what: "storage_bytes", limit, used: stands.saturating_add(waiting) };
            let settled = u64::try_from(used.settled.bytes).unwrap_or(0);
            match round {
                WAITS.. => return Ok(Err(exceeded)),
                // What stands in the way may still fail, or is no longer waited for in a moment.
                _ if settled.saturating_add(waiting).saturating_add(more) <= limit => {
                    self.usage.some_end().await;
                }
                0 => self.read(&vaults).await,
                _ => return Ok(Err(exceeded)),
            }
        }
        Ok(Ok(()))
    }

    /// How many of an account's vaults, in the order in which they were attached, its plan counts: the first always, of
    /// the others those that were not emptied. A deleted vault is one whose entries are all deleted, its name with them.
    ///
    /// # Errors
    /// If the read models do not answer.
    pub async fn vaults_in_use(&self, vaults: &[VaultId]) -> Result<u64, ReadError> {
        let mut used = vaults.len() as u64;
        for vault in vaults.iter().skip(1) {
            used -= u64::from(self.reads.vault(*vault).await?.is_some_and(|row| is_emptied(&row)));
        }
        Ok(used)
    }

    async fn vaults(&self, account: AccountId, of_push: VaultId) -> Result<Arc<[VaultId]>, LogError> {
        let known = self.attached.of(account).await?;
        if known.contains(&of_push) {
            return Ok(known);
        }
        // This node has not heard of it yet: not remembered.
        Ok(known.iter().copied().chain([of_push]).collect())
    }

    /// A row that cannot be read now leaves the counter as it is: a push does not wait for a read model.
    async fn read(&self, vaults: &[VaultId]) {
        for vault in vaults {
            let Ok(row) = self.reads.vault(*vault).await else { continue };
            let amount = row.as_ref().map_or_else(Amount::default, |row| Amount {
                entries: row.live_entries.cast_signed(),
                bytes: row.content_bytes.cast_signed(),
            });
            self.usage.read(*vault, amount, row.map(|row| row.seq).unwrap_or_default());
        }
    }
}

/// Whether something was in a vault, and all of it is deleted. One that has just begun is not emptied.
const fn is_emptied(row: &VaultRow) -> bool {
    row.versions > 0 && row.live_entries == 0
}

fn fits(plan: &Plan, used: Amount, more: Amount) -> Result<(), Exceeded> {
    let limits = [
        ("entries", plan.entries, used.entries, more.entries),
        ("storage_bytes", plan.storage_bytes, used.bytes, more.bytes),
    ];
    for (what, limit, used, more) in limits {
        let Some(limit) = limit else { continue };
        // Whatever makes it less is always welcome.
        if more > 0 && used.saturating_add(more) > i64::try_from(limit).unwrap_or(i64::MAX) {
            return Err(Exceeded { what, limit, used: u64::try_from(used).unwrap_or(0) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(entries: i64, bytes: i64) -> Amount {
        Amount { entries, bytes }
    }

    #[test]
    fn a_limit_is_reached_exactly_and_named() {
        let plan = Plan { entries: Some(3), storage_bytes: Some(100), ..Plan::default() };
        assert_eq!(fits(&plan, amount(2, 90), amount(1, 10)), Ok(()));
        let entries = Exceeded { what: "entries", limit: 3, used: 3 };
        assert_eq!(fits(&plan, amount(3, 0), amount(1, 1)), Err(entries));
        let bytes = Exceeded { what: "storage_bytes", limit: 100, used: 91 };
        assert_eq!(fits(&plan, amount(0, 91), amount(0, 10)), Err(bytes));
    }

    #[test]
    fn what_makes_it_less_is_taken_however_full_it_is() {
        let plan = Plan { entries: Some(3), storage_bytes: Some(100), ..Plan::default() };
        assert_eq!(fits(&plan, amount(9, 900), amount(-1, 0)), Ok(()));
        assert_eq!(fits(&plan, amount(9, 900), amount(0, 0)), Ok(()));
    }
}
