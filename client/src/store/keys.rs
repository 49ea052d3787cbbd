//! Single values, wrapped keys and the roster.

use lockstep_events::{
    DeviceId, Micros, Seq, VaultId,
    event::AccountEvent,
    roster::{Claim, Roster, Statement},
};
use sqlx::SqliteConnection;
use std::collections::BTreeMap;

use super::{damaged, fixed, uuid};
use crate::error::Error;

/// Names of single values.
pub(crate) mod name {
    /// u32 generation | the account root key under the local key.
    pub(crate) const ARK: &str = "ark";
    /// The device key under the local key.
    pub(crate) const DEVICE_KEY: &str = "device_key";
    /// The account signing key under the account root key.
    pub(crate) const ASK: &str = "ask";
    /// The server's OPAQUE key, pinned.
    pub(crate) const SERVER_KEY: &str = "server_key";
    /// Where this device's uploads go: scheme, host and port of the object store, or `/` for the server.
    pub(crate) const OBJECT_STORE: &str = "object_store";
    /// The tokens of the session, as JSON with the time of their arrival.
    pub(crate) const TOKENS: &str = "tokens";
    /// When and why the last session ended, as JSON: only while there is no other one.
    pub(crate) const ENDED: &str = "session_ended";
    /// u64 seq of the request | i64 when the account is going to be erased: until that is called off.
    pub(crate) const ERASURE: &str = "erasure_due_at";
    /// Whether the account ever had an address that was confirmed, as one byte; none: this device read its stream before
    /// that was kept.
    pub(crate) const ADDRESS: &str = "address_confirmed";
}

/// A single value.
pub(crate) async fn get(db: &mut SqliteConnection, name: &str) -> Result<Option<Vec<u8>>, Error> {
    Ok(sqlx::query_scalar("SELECT value FROM meta WHERE name = ?").bind(name).fetch_optional(db).await?)
}

/// Sets a single value.
pub(crate) async fn set(db: &mut SqliteConnection, name: &str, value: &[u8]) -> Result<(), Error> {
    sqlx::query("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(name)
        .bind(value)
        .execute(db)
        .await?;
    Ok(())
}

/// Removes a single value.
pub(crate) async fn remove(db: &mut SqliteConnection, name: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM meta WHERE name = ?").bind(name).execute(db).await?;
    Ok(())
}

/// Whether there is any single value whose name begins so.
pub(crate) async fn any(db: &mut SqliteConnection, beginning: &str) -> Result<bool, Error> {
    let query =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM meta WHERE substr(name, 1, length(?1)) = ?1)");
    Ok(query.bind(beginning).fetch_one(db).await?)
}

/// The account is going to be erased: by which event, and when.
pub(crate) async fn set_erasure(db: &mut SqliteConnection, (asked, due): (Seq, Micros)) -> Result<(), Error> {
    set(db, name::ERASURE, &[asked.0.to_be_bytes(), due.0.to_be_bytes()].concat()).await
}

/// As [`set_erasure`] said, if it was not called off.
pub(crate) async fn erasure(db: &mut SqliteConnection) -> Result<Option<(Seq, Micros)>, Error> {
    let Some(kept) = get(db, name::ERASURE).await? else { return Ok(None) };
    let (asked, due) = kept.split_at_checked(8).ok_or_else(damaged)?;
    Ok(Some((Seq(u64::from_be_bytes(fixed(asked)?)), Micros(i64::from_be_bytes(fixed(due)?)))))
}

/// Whether an event is about the first address that the account ever had. Keeps what that follows from.
pub(crate) async fn about_first_address(
    db: &mut SqliteConnection,
    event: &AccountEvent,
) -> Result<bool, Error> {
    match event {
        AccountEvent::Created(_) => set(db, name::ADDRESS, &[0]).await.map(|()| false),
        AccountEvent::EmailSet(_) => Ok(get(db, name::ADDRESS).await?.as_deref() == Some(&[0])),
        AccountEvent::EmailConfirmed(_) => {
            let first = get(db, name::ADDRESS).await?.as_deref() == Some(&[0]);
            set(db, name::ADDRESS, &[1]).await?;
            Ok(first)
        }
        _ => Ok(false),
    }
}

/// Keeps a wrapped vault key; one that is there already stays as it is.
pub(crate) async fn keep_vault_key(
    db: &mut SqliteConnection,
    vault: VaultId,
    generation: u32,
    wrap: &[u8],
) -> Result<(), Error> {
    sqlx::query("INSERT OR IGNORE INTO vault_keys (vault, generation, wrap) VALUES (?, ?, ?)")
        .bind(vault.as_bytes().as_slice())
        .bind(i64::from(generation))
        .bind(wrap)
        .execute(db)
        .await?;
    Ok(())
}

/// Wrapped keys, by vault and generation.
pub(crate) type VaultWraps = BTreeMap<(VaultId, u32), Vec<u8>>;

/// All wrapped keys of all vaults.
pub(crate) async fn vault_keys(db: &mut SqliteConnection) -> Result<VaultWraps, Error> {
    let rows: Vec<(Vec<u8>, i64, Vec<u8>)> =
        sqlx::query_as("SELECT vault, generation, wrap FROM vault_keys").fetch_all(db).await?;
    let mut wraps = VaultWraps::new();
    for (vault, generation, wrap) in rows {
        let generation = u32::try_from(generation).map_err(|_| damaged())?;
        wraps.insert((VaultId(uuid(&vault)?), generation), wrap);
    }
    Ok(wraps)
}

/// The newest generation of a vault's key that is kept here.
pub(crate) async fn newest_generation(db: &mut SqliteConnection, vault: VaultId) -> Result<u32, Error> {
    let newest: Option<i64> = sqlx::query_scalar("SELECT max(generation) FROM vault_keys WHERE vault = ?")
        .bind(vault.as_bytes().as_slice())
        .fetch_one(db)
        .await?;
    newest.and_then(|newest| u32::try_from(newest).ok()).ok_or_else(damaged)
}

/// The vaults that the roster names, in the order in which they began.
pub(crate) async fn vaults(db: &mut SqliteConnection) -> Result<Vec<VaultId>, Error> {
    let began = |statement: &Statement| match statement.claim {
        Claim::VaultKeyGen { vault, generation: 1 } => Some(vault),
        _ => None,
    };
    Ok(statements(db).await?.iter().filter_map(began).collect())
}

/// The newest generation of a vault's key that the roster names.
pub(crate) async fn stated_generation(db: &mut SqliteConnection, vault: VaultId) -> Result<u32, Error> {
    let generation = |statement: &Statement| match statement.claim {
        Claim::VaultKeyGen { vault: named, generation } if named == vault => Some(generation),
        _ => None,
    };
    Ok(statements(db).await?.iter().filter_map(generation).max().unwrap_or(0))
}

/// Adds a statement that was verified.
pub(crate) async fn add_statement(db: &mut SqliteConnection, statement: &Statement) -> Result<(), Error> {
    let text = serde_json::to_string(statement).map_err(|_| damaged())?;
    sqlx::query("INSERT INTO roster (epoch, statement) VALUES (?, ?)")
        .bind(i64::from(statement.epoch))
        .bind(text)
        .execute(db)
        .await?;
    Ok(())
}

/// All statements, in order.
pub(crate) async fn statements(db: &mut SqliteConnection) -> Result<Vec<Statement>, Error> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT statement FROM roster ORDER BY epoch").fetch_all(db).await?;
    rows.iter().map(|(text,)| serde_json::from_str(text).map_err(|_| damaged())).collect()
}

/// The roster that this device trusts, with the times of revocation.
#[derive(Debug, Clone)]
pub(crate) struct Trusted {
    /// The fold of all statements.
    pub(crate) roster: Roster,
    /// When the log says that a device was revoked.
    pub(crate) revoked_at: BTreeMap<DeviceId, Micros>,
}

/// Loads the roster.
pub(crate) async fn trusted(db: &mut SqliteConnection) -> Result<Trusted, Error> {
    let statements = statements(db).await?;
    let (first, rest) = statements.split_first().ok_or_else(damaged)?;
    let mut roster = Roster::start(first).map_err(|_| damaged())?;
    for statement in rest {
        roster.apply(statement).map_err(|_| damaged())?;
    }
    let rows: Vec<(Vec<u8>, i64)> =
        sqlx::query_as("SELECT device, revoked_at FROM revocations").fetch_all(db).await?;
    let revoked_at = rows
        .into_iter()
        .map(|(device, at)| Ok((DeviceId(uuid(&device)?), Micros(at))))
        .collect::<Result<_, Error>>()?;
    Ok(Trusted { roster, revoked_at })
}

/// Notes when a device was revoked, in one life of the account's stream: the first time stays, until a later life has
/// another one. What the device wrote stands in the log as it is now. Gives the time that counts.
pub(crate) async fn note_revocation(
    db: &mut SqliteConnection,
    device: DeviceId,
    (life, at): (u32, Micros),
) -> Result<Micros, Error> {
    let name = format!("revoked/{device}");
    let known: Option<i64> = sqlx::query_scalar("SELECT revoked_at FROM revocations WHERE device = ?")
        .bind(device.as_bytes().as_slice())
        .fetch_optional(&mut *db)
        .await?;
    let noted = match get(db, &name).await? {
        Some(kept) => u32::from_be_bytes(fixed(&kept)?),
        None => 1,
    };
    if let Some(known) = known
        && noted >= life
    {
        return Ok(Micros(known));
    }
    sqlx::query("INSERT OR REPLACE INTO revocations (device, revoked_at) VALUES (?, ?)")
        .bind(device.as_bytes().as_slice())
        .bind(at.0)
        .execute(&mut *db)
        .await?;
    set(db, &name, &life.to_be_bytes()).await?;
    Ok(at)
}
