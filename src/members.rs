//! Who may write where, for those who write: owners of vaults, keys of devices, lives of streams.
//!
//! Read from the log, which is the authority, and kept where it cannot change: a vault never changes its owner, a
//! device never its key. Whether a device was revoked meanwhile is not looked for here: whoever appends what it signed
//! claims that nothing was said of it since [`Device::stated`]. The life of a stream is kept for a moment only; a
//! stream's life changes by a restore.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use lockstep_events::{
    AccountId, DeviceId, Event, EventLog, LogError, Seq, StreamId, StreamKind, VaultId,
    event::{AccountEvent, VaultEvent},
    ids::PublicKey,
    log::{Contents, StreamHead},
    roster::Claim,
};
use lru::LruCache;

use crate::bounded::bounded;

const PAGE: usize = 500;
const KEPT: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// A renewed epoch is noticed on other nodes after so long.
const EPOCH_KEPT: Duration = Duration::from_millis(500);

/// What a device is to its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its key.
    pub public_key: PublicKey,
    /// Whether it may no longer sign.
    pub revoked: bool,
    /// Where the account's stream last speaks of it.
    pub stated: Seq,
}

/// Owners, devices, lives.
pub struct Members {
    log: Arc<dyn EventLog>,
    owners: Kept<VaultId, AccountId>,
    devices: Kept<(AccountId, DeviceId), Device>,
    heads: Kept<VaultId, (StreamHead, Instant)>,
}

struct Kept<K: std::hash::Hash + Eq, V>(Mutex<LruCache<K, V>>);

impl<K: std::hash::Hash + Eq, V: Copy> Kept<K, V> {
    fn new() -> Self {
        Self(Mutex::new(bounded(KEPT)))
    }

    fn get(&self, key: &K) -> Option<V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn forget(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop(key);
    }

    fn put(&self, key: K, value: V) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(key, value);
    }
}

/// The vaults of an account, in the order in which they were attached, as the log has them now.
///
/// # Errors
/// If the log does not answer.
pub async fn vaults(log: &dyn EventLog, account: AccountId) -> Result<Vec<VaultId>, LogError> {
    let mut vaults = Vec::new();
    let mut after = Seq::ZERO;
    loop {
        let page = log.read_stream(account.into(), after, PAGE, Contents::No).await?;
        for recorded in &page {
            after = recorded.seq;
            if let Ok(Event::Account(AccountEvent::VaultAttached(attached))) = recorded.event() {
                vaults.push(attached.vault);
            }
        }
        if page.len() < PAGE {
            return Ok(vaults);
        }
    }
}

impl Members {
    /// Nothing is known yet.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log, owners: Kept::new(), devices: Kept::new(), heads: Kept::new() }
    }

    /// The owner of a vault; none: there is no such vault.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn owner(&self, vault: VaultId) -> Result<Option<AccountId>, LogError> {
        if let Some(owner) = self.owners.get(&vault) {
            return Ok(Some(owner));
        }
        let first = self.log.read_stream(vault.into(), Seq::ZERO, 1, Contents::No).await?;
        let Some(Ok(Event::Vault(VaultEvent::Created(created)))) = first.first().map(|r| r.event()) else {
            return Ok(None);
        };
        self.owners.put(vault, created.account);
        Ok(Some(created.account))
    }

    /// A device of an account; none: the roster does not have it.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn device(
        &self,
        account: AccountId,
        device: DeviceId,
        fresh: bool,
    ) -> Result<Option<Device>, LogError> {
        let kept = self.devices.get(&(account, device));
        if kept.is_some() && !fresh {
            return Ok(kept);
        }
        let mut known = None;
        for recorded in self.log.read_subject(account.into(), device.into(), Seq::ZERO, 1000).await? {
            match recorded.event() {
                Ok(Event::Account(AccountEvent::DeviceAdded(added))) => {
                    if let Claim::DeviceAdded { public_key, .. } = added.statement.claim {
                        known = Some(Device { public_key, revoked: false, stated: Seq::ZERO });
                    }
                }
                Ok(Event::Account(AccountEvent::DeviceRevoked(_))) => {
                    known = known.map(|device| Device { revoked: true, ..device });
                }
                _ => {}
            }
            known = known.map(|device| Device { stated: recorded.seq, ..device });
        }
        if let Some(known) = known {
            self.devices.put((account, device), known);
        }
        Ok(known)
    }

    /// The vaults of an account, in the order in which they were attached.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn vaults(&self, account: AccountId) -> Result<Vec<VaultId>, LogError> {
        vaults(self.log.as_ref(), account).await
    }

    /// The head of a vault's stream, not older than half a second; its seq and chain may be older than that.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn head(&self, vault: VaultId) -> Result<Option<StreamHead>, LogError> {
        if let Some((head, since)) = self.heads.get(&vault)
            && since.elapsed() < EPOCH_KEPT
        {
            return Ok(Some(head));
        }
        self.head_now(vault).await
    }

    /// The head of a vault's stream as the log has it now.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn head_now(&self, vault: VaultId) -> Result<Option<StreamHead>, LogError> {
        // An answer is as old as its question: one that was held back is not kept for longer.
        let asked = Instant::now();
        let head = self.log.stream_heads(&[vault.into()]).await?.first().copied();
        let head = head.filter(|head| head.kind == StreamKind::Vault);
        match head {
            Some(head) => self.heads.put(vault, (head, asked)),
            None => self.heads.forget(&vault),
        }
        Ok(head)
    }

    /// A stream has begun another life: nothing is taken for the old one any more.
    pub fn renewed(&self, stream: StreamId) {
        self.heads.forget(&stream.into());
    }

    /// Notes that a vault's stream is at least so long.
    pub fn advance(&self, vault: VaultId, to: Seq) {
        if let Some((mut head, since)) = self.heads.get(&vault)
            && head.seq < to
        {
            head.seq = to;
            self.heads.put(vault, (head, since));
        }
    }
}
