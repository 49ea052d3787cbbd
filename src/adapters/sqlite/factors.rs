//! Second factors and staged changes, beside the credentials.

use lockstep_events::{AccountId, Micros};
use uuid::Uuid;

use super::credentials::{SqliteCredentials, failed, id};
use crate::{
    adapters::factor_tables::{FactorRow, RECOVERY_OR, StagedRow, change_bytes, factor_tables},
    auth::{
        credentials::CredentialError,
        factors::{Replacement, Staged, StoredFactor},
    },
};

type Result<T> = std::result::Result<T, CredentialError>;

factor_tables!(SqliteCredentials, sqlx::SqliteConnection, failed);
