//! What administrators and auditors ask and say. None of it names a person, a ciphertext or a key.

use std::collections::BTreeMap;

use lockstep_events::{AccountId, DeviceId, Micros, Position, SessionId, event::Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::plan::Measure;

/// `POST /v1/admin/bootstrap`: the one-time token of a server that has no administrator yet.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// As the server wrote it at its first start.
    pub token: String,
}

/// Why something is done: kept sealed, shown to the account's owner.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// One sentence, 1 to 500 bytes.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
}

/// `POST /v1/admin/accounts/{account}/role`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRole {
    /// The new role.
    pub role: Role,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
}

/// `POST /v1/admin/accounts/{account}/plan`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPlan {
    /// A plan of the server's configuration.
    pub plan: String,
    /// When it ends, microseconds since 1970; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Micros>,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
}

/// `POST /v1/admin/accounts/{account}/flags`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetFlag {
    /// A feature: lower-case letters, digits, `-` and `_`.
    #[schema(pattern = "^[a-z0-9_-]{1,64}$")]
    pub flag: String,
    /// On, off, or none: what the plan says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
}

/// `POST /v1/admin/accounts/find`: in a body, because names do not belong into addresses.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindAccount {
    /// The name that the person registered with.
    #[schema(min_length = 1, max_length = 254)]
    pub name: String,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
}

/// What became of an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// Where its event stands in the log.
    pub position: Position,
    /// With two administrators: it waits for another one's approval under this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Uuid>,
}

/// An account, as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountView {
    /// The account.
    pub account: AccountId,
    /// Microseconds since 1970.
    pub created_at: Micros,
    /// Its role.
    pub role: Role,
    /// Whether it is disabled.
    pub disabled: bool,
    /// The plan that counts now.
    pub plan: String,
    /// When that ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_until: Option<Micros>,
    /// When it will be erased, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erasure_due: Option<Micros>,
    /// When it was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<Micros>,
    /// Features that were switched for it alone.
    pub flags: BTreeMap<String, bool>,
    /// What it uses; left out in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Measure>,
    /// Its old versions keep their content for so many days; none: for ever. Left out in lists, as the next two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_days: Option<u32>,
    /// When that will be fewer: what an earlier plan kept is kept for 30 days more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_days_until: Option<Micros>,
    /// How many it will be then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_days_then: Option<u32>,
}

/// `GET /v1/admin/accounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountList {
    /// In order of id.
    pub accounts: Vec<AccountView>,
    /// For the next page: `after`. None: this is the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<AccountId>,
}

/// A session, as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionView {
    /// The session.
    pub session: SessionId,
    /// Its device.
    pub device: DeviceId,
    /// Microseconds since 1970.
    pub opened_at: Micros,
    /// When it was last used: microseconds since 1970, to the hour, as its owner sees it.
    pub last_seen: Micros,
    /// Whether it has ended.
    pub ended: bool,
}

/// `GET /v1/admin/accounts/{account}/sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionViews {
    /// Oldest first.
    pub sessions: Vec<SessionView>,
}

/// `POST /v1/admin/invitations`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The plan that the account gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// When that plan ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_until: Option<Micros>,
    /// For how many hours the invitation is valid.
    #[schema(minimum = 1, maximum = 720)]
    pub hours: u32,
    /// Why: kept sealed, shown to whoever invites.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
}

/// An invitation; its token is shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Invited {
    /// For `lockstep register --invitation`.
    pub token: String,
    /// Names it, for withdrawing.
    pub invitation: Uuid,
    /// Not valid after.
    pub until: Micros,
}

/// What became of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvitationState {
    /// Somebody may register with it.
    Open,
    /// Somebody has.
    Used,
    /// An administrator withdrew it.
    Withdrawn,
    /// Nobody used it in time.
    Expired,
}

/// An invitation, as administrators see it. Its token is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationView {
    /// Names it, for withdrawing.
    pub invitation: Uuid,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<AccountId>,
    /// When: microseconds since 1970.
    pub made_at: Micros,
    /// Not valid after.
    pub until: Micros,
    /// The plan that the account gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// When that plan ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_until: Option<Micros>,
    /// What became of it.
    pub state: InvitationState,
}

/// `GET /v1/admin/invitations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Invitations {
    /// Oldest first.
    pub invitations: Vec<InvitationView>,
    /// For the next page: `after`. None: this is the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<lockstep_events::Seq>,
}

/// A proposal that waits for another administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposalView {
    /// Names it, for approving or withdrawing.
    pub proposal: Uuid,
    /// The account that it is about.
    pub account: AccountId,
    /// The role that the account would get; none: it would be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Who proposed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed_by: Option<AccountId>,
    /// When: microseconds since 1970.
    pub proposed_at: Micros,
    /// Not valid after.
    pub until: Micros,
    /// Why, in the words of who proposed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET /v1/admin/proposals`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Proposals {
    /// Those that can still be approved, oldest first.
    pub proposals: Vec<ProposalView>,
    /// For the next page: `after`. None: this is the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<lockstep_events::Seq>,
}

/// `POST /v1/admin/proposals/{proposal}`: what becomes of a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Settle {
    /// Do it, or withdraw it.
    pub approve: bool,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
}

/// An event, as an auditor reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoggedEvent {
    /// Where it stands.
    pub position: Position,
    /// Its stream.
    pub stream: Uuid,
    /// Where it stands there.
    pub seq: lockstep_events::Seq,
    /// Its identity.
    pub event: Uuid,
    /// What in its stream it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Uuid>,
    /// Stored name.
    pub kind: String,
    /// Version of the shape.
    pub schema: u16,
    /// Microseconds since 1970.
    pub recorded_at: Micros,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<AccountId>,
    /// With which device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// JSON, byte for byte.
    pub public: String,
    /// SHA-256 of the sealed part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_hash: Option<lockstep_events::Hash32>,
    /// The stream's chain here.
    pub chain: lockstep_events::Chain,
}

/// `GET /v1/audit/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoggedEvents {
    /// In the order of the log.
    pub events: Vec<LoggedEvent>,
}

/// What a biller says, signed, at `POST /v1/billing/events`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BillingEvent {
    /// Names the event; the same one again changes nothing.
    #[schema(min_length = 1, max_length = 128)]
    pub id: String,
    /// Whose plan.
    pub account: AccountId,
    /// The plan from now on.
    pub plan: String,
    /// Until when it is paid; none: until something else is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Micros>,
    /// The biller's time: something older is not applied after something newer.
    pub at: Micros,
}
