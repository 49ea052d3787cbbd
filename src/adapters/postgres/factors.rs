//! Second factors and staged changes, beside the credentials.

use lockstep_events::{AccountId, Micros};
use uuid::Uuid;

use super::credentials::{PostgresCredentials, failed, id};
use crate::{
    adapters::factor_tables::{FactorRow, RECOVERY_OR, StagedRow, change_bytes, factor_tables},
    auth::{
        credentials::CredentialError,
        factors::{Replacement, Staged, StoredFactor},
    },
};

type Result<T> = std::result::Result<T, CredentialError>;

factor_tables!(PostgresCredentials, sqlx::PgConnection, failed);
