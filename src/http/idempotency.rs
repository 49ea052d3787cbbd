//! Commands with an `Idempotency-Key`: done once, answered the same again for thirty days.

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use lockstep_api::Code;
use lockstep_events::canonical::Writer;
use serde::Serialize;
use utoipa::IntoParams;

use super::{Answer, Failure, caller::Caller};
use crate::{
    kept_answers::{AnswerKey, KEPT_S, KeptAnswer},
    state::Server,
};

/// The header, as the `OpenAPI` document shows it; [`Keyed::new`] holds callers to it.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the document reads its fields")]
pub struct KeyHeader {
    /// The same for every retry
    #[param(rename = "idempotency-key", min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    key: String,
}

/// A command that was sent with a key, and what it asks for.
pub struct Keyed {
    key: AnswerKey,
    request_hash: [u8; 32],
}

impl Keyed {
    /// Reads the key of a request; `path` and `body` are what it asks for.
    ///
    /// # Errors
    /// `invalid_header` without a key of 1 to 128 visible ASCII characters.
    pub fn new(headers: &HeaderMap, caller: &Caller, path: &str, body: &impl Serialize) -> Answer<Self> {
        let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if key.is_empty() || key.len() > 128 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let detail = "idempotency-key: 1 to 128 visible ASCII characters";
            return Err(Failure::from(Code::InvalidHeader).detail(detail));
        }
        let body = serde_json::to_vec(body).map_err(|error| Failure::caused(Code::Internal, error))?;
        let request_hash = Writer::new("lockstep/v1/request").lp(path.as_bytes()).lp(&body).sha256();
        let key = AnswerKey { account: caller.account, device: caller.device, key: key.to_owned() };
        Ok(Self { key, request_hash })
    }

    /// 16 bytes that are the same for every retry of this command by this device, for ids made from it.
    pub fn seed(&self) -> [u8; 16] {
        let bytes = Writer::new("lockstep/v1/idempotent")
            .fixed(self.key.account.as_bytes())
            .fixed(self.key.device.as_bytes())
            .lp(self.key.key.as_bytes())
            .fixed(&self.request_hash)
            .sha256();
        let mut seed = [0; 16];
        seed.copy_from_slice(&bytes[..16]);
        seed
    }

    /// The answer that was given before, if there was one.
    ///
    /// # Errors
    /// `idempotency_key_reused` if the key was used for something else.
    pub async fn before(&self, server: &Server) -> Answer<Option<Response>> {
        let Some(kept) = server.kept_answers.kept(&self.key, server.clock.now()).await? else {
            return Ok(None);
        };
        if kept.request_hash != self.request_hash {
            return Err(Code::IdempotencyKeyReused.into());
        }
        let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
        let body = Bytes::from(kept.body);
        Ok(Some((status, [(header::CONTENT_TYPE, "application/json")], body).into_response()))
    }

    /// Keeps an answer and gives it.
    pub async fn answer(&self, server: &Server, body: &impl Serialize) -> Answer<Response> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::caused(Code::Internal, error))?;
        let kept = KeptAnswer { request_hash: self.request_hash, status: 200, body };
        server.kept_answers.keep(&self.key, &kept, server.clock.now().plus_seconds(KEPT_S)).await?;
        Ok(([(header::CONTENT_TYPE, "application/json")], kept.body).into_response())
    }
}
