//! Second factors.

use lockstep_events::Micros;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Bytes64;

/// What a factor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Codes by time (RFC 6238): SHA-1, six digits, 30 s.
    Totp,
    /// A `WebAuthn` credential.
    Passkey,
    /// Codes for who has lost the others, each to be used once.
    Codes,
}

/// Facts of `second_factor_required`: what may be shown. Valid for 5 min and 5 guesses.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Demanded {
    /// Names this attempt.
    pub attempt: Uuid,
    /// What may be shown.
    pub kinds: Vec<Kind>,
    /// What a passkey has to sign.
    pub challenge: Bytes64,
    /// The relying party's id, for a passkey.
    pub relying_party: String,
    /// The ids of the passkeys that may sign it.
    pub passkeys: Vec<Bytes64>,
    /// The page on which a browser can be asked for one.
    pub page: String,
}

/// A factor as it is shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Shown {
    /// The six digits of an authenticator app. Each is taken once.
    Totp {
        /// Six digits.
        code: String,
    },
    /// One of the codes that were shown when the first factor was set. Each is taken once.
    Codes {
        /// The code; space, hyphens and case make no difference.
        code: String,
    },
    /// A passkey's signature.
    Passkey {
        /// The credential's id.
        credential: Bytes64,
        /// `clientDataJSON`.
        client_data: Bytes64,
        /// `authenticatorData`.
        authenticator_data: Bytes64,
        /// The signature.
        signature: Bytes64,
    },
}

/// `POST /v1/sessions/second-factor` and `POST /v1/sessions/step-up/second-factor`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowFactor {
    /// From [`Demanded`].
    pub attempt: Uuid,
    /// The factor.
    pub factor: Shown,
}

/// A factor in a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// Names it.
    pub factor: Uuid,
    /// What it is.
    pub kind: Kind,
    /// Microseconds since 1970.
    pub created_at: Micros,
    /// For codes: how many are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u32>,
}

/// `GET /v1/account/factors`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Factors {
    /// Oldest first.
    pub factors: Vec<Factor>,
}

/// Answer to `POST /v1/account/factors/totp`: the secret, shown once. The factor is demanded once a code confirmed it.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTotp {
    /// Names it.
    pub factor: Uuid,
    /// In base 32.
    pub secret: String,
    /// For a QR code: `otpauth://…`.
    pub uri: String,
}

/// `POST /v1/account/factors/totp/confirm`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmTotp {
    /// From [`NewTotp`].
    pub factor: Uuid,
    /// Six digits.
    pub code: String,
}

/// A factor was set.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FactorIsSet {
    /// Names it.
    pub factor: Uuid,
    /// With the first factor, and when they are asked for: ten codes for who loses it, shown once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
}

/// Answer to `POST /v1/account/factors/passkey/start`: what an authenticator is asked for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPasskey {
    /// Names this attempt; valid for 5 min, once.
    pub attempt: Uuid,
    /// What the authenticator signs.
    pub challenge: Bytes64,
    /// The relying party's id.
    pub relying_party: String,
    /// The user's id: the 16 bytes of the account id.
    pub user: Bytes64,
    /// COSE algorithms that are taken, the preferred first.
    pub algorithms: Vec<i64>,
    /// Passkeys that are there already.
    pub exclude: Vec<Bytes64>,
    /// The page on which a browser can be asked for it.
    pub page: String,
}

/// `POST /v1/account/factors/passkey/finish`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MadePasskey {
    /// From [`NewPasskey`].
    pub attempt: Uuid,
    /// `clientDataJSON`.
    pub client_data: Bytes64,
    /// `attestationObject`.
    pub attestation: Bytes64,
}
