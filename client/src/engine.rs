//! What all parts of an unlocked client share.

use std::{
    path::PathBuf,
    sync::{Arc, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use lockstep_events::{AccountId, DeviceId, Micros, VaultId};
use tokio::sync::{Notify, broadcast, watch};

use crate::{
    crypto::{
        Rejected,
        hierarchy::WRAP_LEN,
        identity::{AccountSigningKey, DeviceKey},
        keys::{AccountRootKey, LocalKey},
    },
    error::Error,
    model::{AlarmKind, Change, Link},
    profile::Profile,
    store::{Store, alarms, damaged, keys},
    transport::Transport,
    vault_keys::{VaultKeys, open_kept},
};

/// The keys of an unlocked profile. In memory only.
pub(crate) struct Keys {
    pub(crate) local: LocalKey,
    pub(crate) ark: AccountRootKey,
    pub(crate) ask: AccountSigningKey,
    pub(crate) device_key: DeviceKey,
    /// Every generation that is known, by vault and generation.
    pub(crate) vaults: RwLock<VaultKeys>,
}

/// An unlocked profile at one of its vaults. Everything but the vault is shared.
#[derive(Clone)]
pub(crate) struct Engine {
    shared: Arc<Shared>,
    vault: VaultId,
}

impl std::ops::Deref for Engine {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.shared
    }
}

/// An unlocked profile with its database and its way to the server.
pub(crate) struct Shared {
    pub(crate) home: PathBuf,
    pub(crate) profile: Profile,
    pub(crate) store: Store,
    pub(crate) keys: Keys,
    pub(crate) transport: Transport,
    /// One renewal of tokens at a time.
    pub(crate) refreshing: tokio::sync::Mutex<()>,
    /// One pull at a time; live frames take it too.
    pub(crate) pulling: tokio::sync::Mutex<()>,
    /// One push at a time.
    pub(crate) pushing: tokio::sync::Mutex<()>,
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) link: watch::Sender<Link>,
    /// Something was put into the outbox.
    pub(crate) outbox: Notify,
    /// The vaults whose versions here were compared with their digest since this process began.
    pub(crate) audited: std::sync::Mutex<std::collections::BTreeSet<VaultId>>,
    /// Heads of entries whose contents were compared and differ.
    pub(crate) told_apart: tokio::sync::Mutex<std::collections::BTreeSet<Vec<lockstep_events::VersionId>>>,
    /// How far whoever follows was told.
    pub(crate) told: tokio::sync::Mutex<crate::sync::telling::Told>,
    /// Somebody noticed that there is something to pull.
    pub(crate) behind: Notify,
    /// A vault that was left out of the feed is believed again.
    pub(crate) believed: Notify,
    /// Where administrators are served, if it is not where everybody is.
    pub(crate) office: std::sync::OnceLock<String>,
}

impl Engine {
    /// Unlocks an open database.
    pub(crate) async fn unlock(
        home: PathBuf,
        profile: Profile,
        store: Store,
        local: LocalKey,
    ) -> Result<Arc<Self>, Error> {
        let keys = unlock_keys(&store, &profile, local).await?;
        let transport = Transport::new(&profile.server)?;
        let vault = profile.vault;
        let shared = Arc::new(Shared {
            home,
            profile,
            store,
            keys,
            transport,
            refreshing: tokio::sync::Mutex::default(),
            pulling: tokio::sync::Mutex::default(),
            pushing: tokio::sync::Mutex::default(),
            changes: broadcast::channel(1024).0,
            link: watch::channel(Link::Stale).0,
            outbox: Notify::new(),
            audited: std::sync::Mutex::default(),
            told_apart: tokio::sync::Mutex::default(),
            told: tokio::sync::Mutex::default(),
            behind: Notify::new(),
            believed: Notify::new(),
            office: std::sync::OnceLock::new(),
        });
        Ok(Arc::new(Self { shared, vault }))
    }

    /// The same at another vault.
    pub(crate) fn at(&self, vault: VaultId) -> Self {
        Self { vault, ..self.clone() }
    }

    /// The clock of this device.
    #[expect(clippy::unused_self, reason = "the one place that reads the clock; a test may own it later")]
    pub(crate) fn now(&self) -> Micros {
        now()
    }

    pub(crate) fn account(&self) -> AccountId {
        self.profile.account
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.profile.device
    }

    pub(crate) fn vault(&self) -> VaultId {
        self.vault
    }

    /// Keeps an alarm and tells whoever watches. Gives the error to return.
    pub(crate) async fn alarm(&self, kind: AlarmKind, detail: &str) -> Error {
        let kept = async {
            let mut tx = self.store.begin().await?;
            let alarm = alarms::raise(&mut tx, kind, self.now(), detail).await?;
            tx.commit().await?;
            Ok::<_, Error>(alarm)
        };
        match kept.await {
            Ok(Some(alarm)) => {
                let _ = self.changes.send(Change::Alarm(alarm));
            }
            Ok(None) => {}
            Err(error) => return error,
        }
        Error::Alarm(kind)
    }
}

/// Microseconds since 1970 by this device's clock.
pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

async fn unlock_keys(store: &Store, profile: &Profile, local: LocalKey) -> Result<Keys, Error> {
    let mut db = store.pool().acquire().await?;
    let (account, device) = (profile.account, profile.device);
    let kept = keys::get(&mut db, keys::name::ARK).await?.ok_or_else(damaged)?;
    let (ark_gen, wrap) = split_generation(&kept)?;
    let ark = AccountRootKey::unwrap_on_device(&local, (account, ark_gen, device), wrap)?;
    let wrap = keys::get(&mut db, keys::name::DEVICE_KEY).await?.ok_or_else(damaged)?;
    let device_key = DeviceKey::unwrap(&local, (account, device), &wrap)?;
    let trusted = keys::trusted(&mut db).await?;
    let wrap = keys::get(&mut db, keys::name::ASK).await?.ok_or_else(damaged)?;
    let ask = ark.unwrap_ask(account, ask_id(&trusted.roster.signing_key), &wrap)?;
    let vaults = open_kept(&mut db, account, &ark).await?;
    Ok(Keys { local, ark, ask, device_key, vaults: RwLock::new(vaults) })
}

/// A wrap of the account root key as it is kept: u32 generation | wrap.
pub(crate) fn split_generation(kept: &[u8]) -> Result<(u32, &[u8]), Rejected> {
    match kept.split_first_chunk::<4>() {
        Some((generation, wrap)) if wrap.len() == WRAP_LEN => Ok((u32::from_be_bytes(*generation), wrap)),
        _ => Err(Rejected),
    }
}

/// The id of an account signing key: the first 16 bytes of SHA-256 of its public half.
pub(crate) fn ask_id(public: &lockstep_events::ids::PublicKey) -> uuid::Uuid {
    let hash = lockstep_events::canonical::sha256(public.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    uuid::Uuid::from_bytes(id)
}
