//! Identities elsewhere and flows under way, beside the credentials.

use lockstep_events::{AccountId, Micros};

use super::{Result, SqliteCredentials, failed};
use crate::{
    adapters::oidc_tables::{self as tables, oidc_tables},
    auth::identities::{Flow, Identity, IdentityKey},
};

oidc_tables!(SqliteCredentials, failed);
