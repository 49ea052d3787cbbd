//! Problem details (RFC 9457) and their codes.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:tt, $status:literal, $title:literal;)+) => {
        /// What went wrong, as a stable word that programs may match.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $code)] $name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The stable word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The HTTP status it comes with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// One sentence for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON, or not UTF-8.
    InvalidJson = "invalid_json", 400, "The body is not valid JSON";
    /// A field is unknown, missing or of the wrong type.
    InvalidField = "invalid_field", 422, "A field is unknown, missing or of the wrong type";
    /// A path segment or query parameter is not what it should be.
    InvalidParameter = "invalid_parameter", 400, "A path or query parameter is not valid";
    /// A required header is missing or malformed.
    InvalidHeader = "invalid_header", 400, "A required header is missing or not valid";
    /// The range that is asked for begins behind the last byte; `content-range` says how many there are.
    RangeNotSatisfiable = "range_not_satisfiable", 416, "There are no bytes in this range";
    /// The content type is not the one that this route takes.
    UnsupportedMediaType = "unsupported_media_type", 415, "The content type is not supported here";
    /// The body is longer than this route takes.
    BodyTooLarge = "body_too_large", 413, "The body is too large";
    /// Path and query are longer than 4 KiB.
    UrlTooLong = "url_too_long", 414, "Path and query are too long";
    /// The head of the request is longer than 16 KiB.
    HeadTooLarge = "head_too_large", 431, "The head of the request is too large";
    /// No access token, or one that does not verify.
    Unauthenticated = "unauthenticated", 401, "A valid access token is needed";
    /// The access token has expired: refresh it.
    TokenExpired = "token_expired", 401, "The access token has expired";
    /// The session or device was revoked. Final.
    Revoked = "revoked", 401, "This session has ended";
    /// Name, password or proof are not right; never says which.
    LoginFailed = "login_failed", 401, "The name or the password is not right";
    /// The refresh token is not, or no longer, valid.
    RefreshFailed = "refresh_failed", 401, "The refresh token is not valid";
    /// The token proves an identity but not knowledge of a key.
    VaultProofRequired = "vault_proof_required", 403, "Proof of a vault key is needed";
    /// The password has to be proven again: `POST /v1/sessions/step-up/start`.
    StepUpRequired = "step_up_required", 403, "The password has to be proven again";
    /// An administrator has disabled the account. Told only to whoever proved the password.
    AccountDisabled = "account_disabled", 403, "The account is disabled";
    /// Where registration is not open to everybody: without a valid invitation.
    InvitationRequired = "invitation_required", 403, "An invitation is needed";
    /// A second factor has to be shown: `facts` says which ones may be.
    SecondFactorRequired = "second_factor_required", 401, "A second factor is needed";
    /// The second factor is not right, or was used; never says which.
    SecondFactorFailed = "second_factor_failed", 401, "The second factor is not right";
    /// Not yours.
    Forbidden = "forbidden", 403, "This is not allowed";
    /// There is nothing here, or it is not yours: the answer is the same.
    NotFound = "not_found", 404, "There is nothing here";
    /// The method is not one of this route.
    MethodNotAllowed = "method_not_allowed", 405, "The method is not allowed here";
    /// The name is taken.
    NameTaken = "name_taken", 409, "An account with this name exists";
    /// The registration or login was not started here, is too old, or was used.
    AttemptExpired = "attempt_expired", 409, "Start again: this attempt has expired";
    /// A statement does not follow the roster.
    RosterConflict = "roster_conflict", 409, "The statement does not follow the roster";
    /// The push names another life of the stream than the present one.
    EpochMismatch = "epoch_mismatch", 409, "The stream has another epoch";
    /// What the command expected does not hold.
    PreconditionFailed = "precondition_failed", 412, "What was expected does not hold";
    /// The same idempotency key with another body.
    IdempotencyKeyReused = "idempotency_key_reused", 422, "This idempotency key was used with another body";
    /// The cursor does not belong to the stream's present life: find the last place that both lives have, offer the
    /// roster, read on from there, reconcile.
    CursorReset = "cursor_reset", 410, "The cursor is no longer valid";
    /// A blob's bytes do not have the hash or length that was promised.
    HashMismatch = "hash_mismatch", 422, "The bytes do not have the promised hash";
    /// An upload does not continue where the server is.
    OffsetMismatch = "offset_mismatch", 409, "The upload does not continue at this offset";
    /// There is no such upload in parts, or not all parts are there: prepare it again.
    UploadGone = "upload_gone", 409, "There is no such upload, or parts of it are missing";
    /// The store that the server keeps long ciphertexts in does not have this one any more, though nothing took it away.
    /// Who has the bytes may upload them again.
    BlobLost = "blob_lost", 410, "The server has lost these bytes";
    /// The body came more slowly than the server bears.
    BodyTooSlow = "body_too_slow", 408, "The body came too slowly";
    /// Too many requests: wait.
    TooManyRequests = "too_many_requests", 429, "Too many requests";
    /// The plan's limit is reached.
    QuotaExceeded = "quota_exceeded", 403, "The limit of the plan is reached";
    /// The event log cannot be reached. Nothing was lost; try again.
    LogUnavailable = "log_unavailable", 503, "The event log is not reachable; try again";
    /// The read models cannot be reached, or are too far behind. Try again.
    ReadsUnavailable = "reads_unavailable", 503, "The read models are not reachable; try again";
    /// Password records, sessions or wrapped keys cannot be reached. Try again.
    CredentialsUnavailable = "credentials_unavailable", 503, "The credential store is not reachable; try again";
    /// The blob store cannot be reached. Try again.
    BlobsUnavailable = "blobs_unavailable", 503, "The blob store is not reachable; try again";
    /// The identity provider does not answer, or describes itself wrongly.
    ProviderUnavailable = "provider_unavailable", 502, "The identity provider does not answer as it should";
    /// No room left on the server's disk. Nothing was written.
    NoRoom = "no_room", 507, "The server has no room left";
    /// The request took longer than the server allows. What became of it is unknown: ask, or send it again.
    TimedOut = "timed_out", 503, "The request took too long";
    /// The server is stopping: try again, elsewhere or later.
    Draining = "draining", 503, "The server is stopping";
    /// A defect of the server.
    Internal = "internal", 500, "The server failed";
}

/// A problem, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// `urn:lockstep:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One sentence for people, the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable word.
    pub code: Code,
    /// What happened this time. Never contains secrets or what other people wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The request, for the operator's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Facts for programs, by code: for `cursor_reset` a [`crate::sync::Reset`], for `epoch_mismatch` the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<serde_json::Value>,
}

impl Problem {
    /// A problem with nothing but its code.
    pub fn new(code: Code) -> Self {
        Self {
            kind: format!("urn:lockstep:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: None,
            request: None,
            facts: None,
        }
    }

    /// With what happened this time.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With facts for programs.
    #[must_use]
    pub fn facts(mut self, facts: serde_json::Value) -> Self {
        self.facts = Some(facts);
        self
    }
}
