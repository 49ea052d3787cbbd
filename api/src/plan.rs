//! Plans, limits and activity, as a person sees their own.

use std::collections::BTreeMap;

use lockstep_events::{AccountId, DeviceId, Micros, Seq, event::Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A limit of the plan that is reached: in push results, and as the facts of `quota_exceeded`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Which: `entries`, `storage_bytes`, `devices`, `vaults`.
    pub what: String,
    /// The limit.
    pub limit: u64,
    /// What is used already.
    pub used: u64,
}

/// One limit with what is used of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// Which: `vaults`, `entries`, `devices`, `storage_bytes`.
    pub what: String,
    /// The limit; none: as much as the server has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What is used.
    pub used: u64,
}

/// `GET /v1/me/plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MyPlan {
    /// Name of the plan that counts now.
    pub plan: String,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Micros>,
    /// What the person is to the server.
    pub role: Role,
    /// Every limit.
    pub limits: Vec<Measure>,
    /// Old versions keep their content for so many days; none: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_days: Option<u32>,
    /// When that will be fewer: what an earlier plan kept is kept for 30 days more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_days_until: Option<Micros>,
    /// How many it will be then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_days_then: Option<u32>,
    /// Features, on or off.
    pub flags: BTreeMap<String, bool>,
}

/// Who did something to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// The account's owner.
    You,
    /// An administrator or auditor.
    Administrator,
    /// The server by itself, whoever runs it, or the biller.
    Server,
}

/// Something that was done to an account, by its owner or others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Activity {
    /// Where it stands in the account stream.
    pub seq: Seq,
    /// Microseconds since 1970.
    pub at: Micros,
    /// Stored name of the event, for example `session.opened`.
    pub kind: String,
    /// Who did it.
    pub by: ActorKind,
    /// The account of whoever did it, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<AccountId>,
    /// The device that it was done with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// The reason that an administrator gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The event's public part.
    pub what: serde_json::Value,
}

/// `GET /v1/me/activity`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Activities {
    /// Newest first.
    pub activity: Vec<Activity>,
    /// For the next page: `before`. None: this is the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Seq>,
}
