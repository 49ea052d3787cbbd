//! Stored names and JSON: event ⇄ `(kind, schema, public)`.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    envelope::Recorded,
    event::{AccountEvent, Event, SystemEvent, VaultEvent},
    ids::Position,
    public::Public,
    upcast,
};

/// An event that cannot be read. The projection that meets it stops; it is never skipped.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A stored name that this program does not know: a newer program wrote it.
    #[error("unknown event kind {kind} (schema {schema}) at position {position}: update this program")]
    UnknownKind {
        /// The stored name.
        kind: String,
        /// Its schema.
        schema: u16,
        /// Where it stands.
        position: Position,
    },
    /// The JSON is not of the shape that its kind and schema name.
    #[error("event {kind} (schema {schema}) at position {position} does not have its shape")]
    Shape {
        /// The stored name.
        kind: String,
        /// Its schema.
        schema: u16,
        /// Where it stands.
        position: Position,
        /// What serde met.
        source: serde_json::Error,
    },
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Stored name.
    pub kind: &'static str,
    /// Version of the shape.
    pub schema: u16,
    /// JSON.
    pub public: String,
}

macro_rules! stored_events {
    ($($family:ident :: $variant:ident in $inner:ident => $name:literal, $schema:literal;)+) => {
        /// Every stored name with its current schema, for golden samples, subscriptions and documentation.
        pub const KINDS: &[(&str, u16)] = &[$(($name, $schema)),+];

        impl Event {
            /// The stored name and current schema of this event.
            pub const fn kind(&self) -> (&'static str, u16) {
                match self { $(Self::$family($inner::$variant(_)) => ($name, $schema),)+ }
            }

            /// The event as it is stored.
            ///
            /// # Errors
            /// Only if it has a [`Word`](crate::Word) or [`Hex`](crate::Hex) that was read somewhere and does not fit.
            pub fn encode(&self) -> Result<Encoded, serde_json::Error> {
                let (kind, schema) = self.kind();
                let public = match self { $(Self::$family($inner::$variant(body)) => json(body)?,)+ };
                Ok(Encoded { kind, schema, public })
            }

            fn from_current(kind: &str, body: Body<'_>) -> Result<Option<Self>, serde_json::Error> {
                match kind {
                    $($name => body.typed().map(|body| Some(Self::$family($inner::$variant(body)))),)+
                    _ => Ok(None),
                }
            }
        }
    };
}

stored_events! {
    Account::Created in AccountEvent => "account.created", 1;
    Account::CredentialSet in AccountEvent => "account.credential_set", 1;
    Account::RosterStated in AccountEvent => "account.roster_stated", 1;
    Account::VaultAttached in AccountEvent => "account.vault_attached", 1;
    Account::DeviceAdded in AccountEvent => "device.added", 1;
    Account::DeviceRevoked in AccountEvent => "device.revoked", 1;
    Account::SessionOpened in AccountEvent => "session.opened", 1;
    Account::SessionRefreshed in AccountEvent => "session.refreshed", 1;
    Account::RefreshReused in AccountEvent => "session.refresh_reused", 1;
    Account::SessionsEnded in AccountEvent => "account.sessions_ended", 1;
    Account::FactorSet in AccountEvent => "factor.set", 1;
    Account::FactorRemoved in AccountEvent => "factor.removed", 1;
    Account::FactorRefused in AccountEvent => "factor.refused", 1;
    Account::SessionRevoked in AccountEvent => "session.revoked", 1;
    Account::RoleSet in AccountEvent => "account.role_set", 1;
    Account::PlanSet in AccountEvent => "account.plan_set", 1;
    Account::FlagSet in AccountEvent => "account.flag_set", 1;
    Account::Disabled in AccountEvent => "account.disabled", 1;
    Account::Enabled in AccountEvent => "account.enabled", 1;
    Account::Viewed in AccountEvent => "account.viewed", 1;
    Account::Invited in AccountEvent => "account.invited", 1;
    Account::EmailSet in AccountEvent => "account.email_set", 1;
    Account::EmailConfirmed in AccountEvent => "account.email_confirmed", 1;
    Account::NameLost in AccountEvent => "account.name_lost", 1;
    Account::IdentityProven in AccountEvent => "account.identity_proven", 1;
    Account::IdentityLinked in AccountEvent => "account.identity_linked", 1;
    Account::IdentityUnlinked in AccountEvent => "account.identity_unlinked", 1;
    Account::Exported in AccountEvent => "account.exported", 1;
    Account::ErasureRequested in AccountEvent => "account.erasure_requested", 1;
    Account::ErasureCancelled in AccountEvent => "account.erasure_cancelled", 1;
    Account::ErasureBegun in AccountEvent => "account.erasure_begun", 1;
    Account::SubjectErased in AccountEvent => "account.subject_erased", 1;
    Vault::Created in VaultEvent => "vault.created", 1;
    Vault::VersionAdded in VaultEvent => "entry.version_added", 1;
    Vault::ContentPruned in VaultEvent => "entry.content_pruned", 1;
    Vault::Purged in VaultEvent => "entry.purged", 1;
    Vault::Erased in VaultEvent => "vault.erased", 1;
    System::SigningKeyRotated in SystemEvent => "system.signing_key_rotated", 1;
    System::OperatorActed in SystemEvent => "system.operator_acted", 1;
    System::BootstrapOpened in SystemEvent => "admin.bootstrap_opened", 1;
    System::Bootstrapped in SystemEvent => "admin.bootstrapped", 1;
    System::RollChanged in SystemEvent => "admin.roll_changed", 1;
    System::InvitationMade in SystemEvent => "admin.invitation_made", 1;
    System::InvitationUsed in SystemEvent => "admin.invitation_used", 1;
    System::InvitationWithdrawn in SystemEvent => "admin.invitation_withdrawn", 1;
    System::Proposed in SystemEvent => "admin.proposed", 1;
    System::ProposalSettled in SystemEvent => "admin.proposal_settled", 1;
    System::LogRead in SystemEvent => "audit.log_read", 1;
    System::Listed in SystemEvent => "admin.listed", 1;
    System::OidcRejected in SystemEvent => "system.oidc_rejected", 1;
}

/// Whatever is stored goes through here: only what the compiler knows to be [`Public`] does.
fn json<T: Public + Serialize>(body: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(body)
}

/// A body of the current schema.
enum Body<'a> {
    /// It was stored so: nearly all of them, so they are read only once.
    Stored(&'a str),
    /// It was of an earlier schema.
    Upcast(serde_json::Value),
}

impl Body<'_> {
    fn typed<T: DeserializeOwned>(self) -> Result<T, serde_json::Error> {
        match self {
            Self::Stored(text) => serde_json::from_str(text),
            Self::Upcast(value) => serde_json::from_value(value),
        }
    }
}

impl Recorded {
    /// The event inside the envelope, brought up to its current schema.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown kind or schema, or a body of another shape.
    pub fn event(&self) -> Result<Event, DecodeError> {
        let shape = |source| DecodeError::Shape {
            kind: self.kind.clone(),
            schema: self.schema,
            position: self.position,
            source,
        };
        let unknown = || DecodeError::UnknownKind {
            kind: self.kind.clone(),
            schema: self.schema,
            position: self.position,
        };
        let (_, current) = KINDS.iter().find(|(kind, _)| *kind == self.kind).ok_or_else(unknown)?;
        let body = if self.schema == *current {
            Body::Stored(&self.public)
        } else {
            let value = serde_json::from_str(&self.public).map_err(shape)?;
            Body::Upcast(upcast::to_current(&self.kind, self.schema, *current, value).ok_or_else(unknown)?)
        };
        Event::from_current(&self.kind, body).map_err(shape)?.ok_or_else(unknown)
    }
}
