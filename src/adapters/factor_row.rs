//! Rows of factors and staged changes, the same in both databases.

use lockstep_events::{AccountId, Micros};
use uuid::Uuid;

use crate::auth::{
    credentials::CredentialError,
    factors::{FactorKind, Replacement, Staged, StoredFactor},
};

type Result<T> = std::result::Result<T, CredentialError>;

fn damaged(what: &'static str) -> CredentialError {
    CredentialError::Other(what.into())
}

fn uuid(bytes: &[u8]) -> Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|_| damaged("a stored id has the wrong length"))
}

#[derive(sqlx::FromRow)]
pub struct FactorRow {
    id: Vec<u8>,
    account: Vec<u8>,
    kind: String,
    body: Vec<u8>,
    version: i64,
    created_at: i64,
}

impl FactorRow {
    pub fn factor(self) -> Result<StoredFactor> {
        Ok(StoredFactor {
            id: uuid(&self.id)?,
            account: AccountId(uuid(&self.account)?),
            kind: FactorKind::from_name(&self.kind).ok_or_else(|| damaged("a factor of an unknown kind"))?,
            body: self.body,
            version: u32::try_from(self.version).map_err(|_| damaged("a stored number is out of range"))?,
            created_at: Micros(self.created_at),
        })
    }
}

#[derive(sqlx::FromRow)]
pub struct StagedRow {
    account: Vec<u8>,
    attempt: Vec<u8>,
    change: Vec<u8>,
    staged_at: i64,
}

impl StagedRow {
    pub fn staged(self) -> Result<Staged> {
        Ok(Staged {
            account: AccountId(uuid(&self.account)?),
            attempt: uuid(&self.attempt)?,
            replacement: serde_json::from_slice(&self.change)
                .map_err(|_| damaged("a staged change cannot be read"))?,
            staged_at: Micros(self.staged_at),
        })
    }
}

/// A change as it is stored.
pub fn change_bytes(replacement: &Replacement) -> Result<Vec<u8>> {
    serde_json::to_vec(replacement).map_err(|_| damaged("a change cannot be written"))
}
