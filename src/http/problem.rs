//! What a route answers when it cannot: one type, one place that says which failure of a port is which problem.

use std::error::Error;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use lockstep_api::{Code, Problem, plan::Quota};
use lockstep_events::LogError;
use lockstep_projections::store::ReadError;

use crate::{
    auth::credentials::CredentialError,
    blobs::{BlobError, IndexError},
    causes::with_causes,
    no_room::Store,
    quotas::{Exceeded, UploadRoomError},
    subjects::{SubjectError, keys::KeyStoreError},
};

/// A problem on its way to the caller, with its cause for the operator's log.
#[derive(Debug)]
pub struct Failure {
    problem: Box<Problem>,
    /// Seconds after which the same request may work, where that is known.
    wait: Option<u32>,
    /// The store that has no room left, if that is the problem.
    full: Option<Store>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// What a handler gives back.
pub type Answer<T> = Result<T, Failure>;

impl Failure {
    /// A problem with a cause that only the operator sees.
    pub fn caused(code: Code, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { problem: Box::new(Problem::new(code)), wait: None, full: None, cause: Some(Box::new(cause)) }
    }

    /// A store has no room left.
    pub fn full(store: Store, cause: impl Error + Send + Sync + 'static) -> Self {
        let said =
            format!("the store of {} is full: what it has is served, and nothing is added", store.holds());
        Self { full: Some(store), ..Self::caused(Code::NoRoom, cause).detail(said) }
    }

    /// With what happened this time: a sentence without anything that a caller sent.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.problem.detail = Some(detail.into());
        self
    }

    /// With facts for programs.
    #[must_use]
    pub fn facts(mut self, facts: impl serde::Serialize) -> Self {
        self.problem.facts = serde_json::to_value(facts).ok();
        self
    }

    /// With the seconds after which the same request may work.
    #[must_use]
    pub fn after(mut self, seconds: u32) -> Self {
        self.wait = Some(seconds);
        self
    }

    /// What happened this time, in our words.
    #[cfg(test)]
    pub fn told(&self) -> &str {
        self.problem.detail.as_deref().unwrap_or_default()
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.problem.code
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Problem::new(code).into()
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem: Box::new(problem), wait: None, full: None, cause: None }
    }
}

impl From<Exceeded> for Failure {
    fn from(Exceeded { what, limit, used }: Exceeded) -> Self {
        let detail = format!("{what}: {used} of {limit} are used");
        Self::from(Code::QuotaExceeded).detail(detail).facts(Quota { what: what.to_owned(), limit, used })
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let code = match &error {
            LogError::Unavailable(_) => Code::LogUnavailable,
            LogError::Full(_) => return Self::full(Store::Log, error),
            LogError::Malformed(_) | LogError::Damaged { .. } | LogError::Other(_) => Code::Internal,
        };
        Self::caused(code, error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let code = match &error {
            ReadError::Unavailable(_) | ReadError::Moved(_) => Code::ReadsUnavailable,
            ReadError::Full(_) => return Self::full(Store::Reads, error),
            _ => Code::Internal,
        };
        Self::caused(code, error)
    }
}

impl From<BlobError> for Failure {
    fn from(error: BlobError) -> Self {
        let code = match &error {
            BlobError::Unavailable(_) => Code::BlobsUnavailable,
            BlobError::Full(_) => return Self::full(Store::Blobs, error),
            BlobError::Missing => Code::NotFound,
            BlobError::Other(_) => Code::Internal,
            BlobError::Index(index) => match index {
                IndexError::Unavailable(_) => Code::CredentialsUnavailable,
                IndexError::Full(_) => return Self::full(Store::Credentials, error),
                IndexError::Other(_) => Code::Internal,
            },
            BlobError::Log(LogError::Unavailable(_)) => Code::LogUnavailable,
            BlobError::Log(_) => Code::Internal,
        };
        Self::caused(code, error)
    }
}

impl From<UploadRoomError> for Failure {
    fn from(error: UploadRoomError) -> Self {
        match error {
            UploadRoomError::Log(error) => error.into(),
            UploadRoomError::Blobs(error) => error.into(),
        }
    }
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        let code = match &error {
            CredentialError::Unavailable(_) => Code::CredentialsUnavailable,
            CredentialError::Full(_) => return Self::full(Store::Credentials, error),
            CredentialError::Other(_) => Code::Internal,
        };
        Self::caused(code, error)
    }
}

/// Personal data that cannot be sealed or opened.
impl From<SubjectError> for Failure {
    fn from(error: SubjectError) -> Self {
        let code = match &error {
            SubjectError::Erased => return Code::NotFound.into(),
            SubjectError::Store(KeyStoreError::Unavailable(_)) => Code::CredentialsUnavailable,
            SubjectError::Store(KeyStoreError::Full(_)) => return Self::full(Store::Credentials, error),
            _ => Code::Internal,
        };
        Self::caused(code, error)
    }
}

/// Seconds after which the same request may work.
fn retry_after(code: Code) -> Option<u32> {
    match code {
        Code::LogUnavailable
        | Code::ReadsUnavailable
        | Code::BlobsUnavailable
        | Code::CredentialsUnavailable
        | Code::Draining => Some(1),
        Code::TooManyRequests => Some(2),
        Code::NoRoom => Some(30),
        _ => None,
    }
}

/// The problem of a response that has not been written yet: `around` adds the request's id and writes it.
#[derive(Debug, Clone)]
pub struct Pending(pub Problem);

/// The store that has no room left, and what it said: `around` sees to it that this is told.
#[derive(Debug, Clone)]
pub struct Full(pub Store, pub String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let cause = self.cause.as_ref().map(|cause| with_causes(cause.as_ref()));
        // What is full is told once, and not for each request.
        if let Some(cause) = cause.as_deref().filter(|_| self.full.is_none()) {
            log_cause(self.problem.code, cause);
        }
        let status =
            StatusCode::from_u16(self.problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(seconds) = self.wait.or_else(|| retry_after(self.problem.code)) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(store) = self.full {
            response.extensions_mut().insert(Full(store, cause.unwrap_or_default()));
        }
        response.extensions_mut().insert(Pending(*self.problem));
        response
    }
}

/// The one place where the cause of a failure is logged, with all that lies beneath it.
fn log_cause(code: Code, cause: &str) {
    if code == Code::Internal {
        tracing::error!(code = code.as_str(), cause, "a request failed");
    } else {
        tracing::warn!(code = code.as_str(), cause, "a request could not be served");
    }
}
