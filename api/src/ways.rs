//! Ways to prove who one is that are not the password: an address, and identities elsewhere. None of them opens a
//! vault: they give a token of scope `identity`, and the key of an enrolled device makes a session of it.

use lockstep_events::{AccountId, Hash32, Micros, SessionId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{Bytes64, account::DeviceProof, words};

/// What only the client that asks holds: 32 random bytes. The server is told their SHA-256 first and sees them last.
pub const SECRET_LEN: usize = 32;

/// The two words that the asking client and the opened link both show.
pub fn words_of(initiator: &Hash32) -> String {
    words::of(&initiator.0, 2)
}

/// `POST /v1/sign-in/start`: ask for a link by mail.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInStart {
    /// E-mail address or user name.
    #[schema(min_length = 1, max_length = 254)]
    pub name: String,
    /// SHA-256 of the client's secret.
    pub initiator: Hash32,
}

/// Answer to [`SignInStart`]: the same whether or not there is such an account.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInStarted {
    /// How long the link is valid, in seconds.
    pub expires_in: u32,
}

/// `POST /v1/sign-in/finish`: whether the link was opened and confirmed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInFinish {
    /// The client's secret, 32 bytes.
    pub secret: Bytes64,
}

/// Not yet, and perhaps never: the answer is the same.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// Ask again after so many seconds.
    pub retry_after: u32,
}

/// Somebody proved who they are.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Identified {
    /// The account.
    pub account: AccountId,
    /// The session of scope `identity`.
    pub session: SessionId,
    /// JWT (EdDSA) of scope `identity`; not to be refreshed.
    pub identity_token: String,
    /// Seconds.
    pub expires_in: u32,
}

impl std::fmt::Debug for Identified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identified").field("session", &self.session).finish_non_exhaustive()
    }
}

/// `POST /v1/sessions/vault`, with a token of scope `identity` as bearer: this device is enrolled.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenVault {
    /// By the device key over the proof message of the identity session's id.
    pub device: DeviceProof,
}

/// `PUT /v1/account/email`: name an address. It counts once it is confirmed.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NameEmail {
    /// The address.
    #[schema(min_length = 3, max_length = 254)]
    pub email: String,
    /// SHA-256 of a random secret of the client: gives the two words that the letter shows.
    pub initiator: Hash32,
}

/// `GET /v1/account/email`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// The confirmed address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<String>,
    /// The one that was named and not confirmed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
}

/// An identity elsewhere that is linked to the account.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkedIdentity {
    /// Names the link.
    pub identity: Uuid,
    /// The provider, as the server's options name it.
    pub provider: String,
    /// Microseconds since 1970.
    pub linked_at: Micros,
}

/// `GET /v1/account/identities`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Identities {
    /// Those that are linked, oldest first.
    pub identities: Vec<LinkedIdentity>,
    /// The providers that this server knows.
    pub providers: Vec<String>,
}

/// `GET /v1/oidc`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcProviders {
    /// Names, as the server's options have them.
    pub providers: Vec<String>,
}

/// `POST /v1/oidc/{provider}/start`, `POST /v1/account/identities/{provider}/start`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcStart {
    /// SHA-256 of the client's secret.
    pub initiator: Hash32,
    /// Where the client listens: `http://127.0.0.1:<port>/callback`.
    #[schema(minimum = 1024)]
    pub port: u16,
}

/// Answer to [`OidcStart`].
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcStarted {
    /// Where the browser has to go.
    pub url: String,
    /// Seconds.
    pub expires_in: u32,
}

impl std::fmt::Debug for OidcStarted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OidcStarted").finish_non_exhaustive()
    }
}

/// `POST /v1/oidc/finish`, `POST /v1/account/identities`: what came back to the client.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcFinish {
    /// The client's secret, 32 bytes.
    pub secret: Bytes64,
    /// As it came back.
    pub code: String,
    /// As it came back.
    pub state: String,
    /// As it came back, if it did (RFC 9207).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
}

impl std::fmt::Debug for OidcFinish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OidcFinish").finish_non_exhaustive()
    }
}
