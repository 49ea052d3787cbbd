//! The session of this device: tokens, their renewal, and requests that carry them.

use lockstep_api::{
    Code,
    account::{Refresh, SessionEnd, Tokens, proof_message},
};
use lockstep_events::event::RevokeReason;
use reqwest::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::SqliteConnection;

use crate::{
    engine::Engine,
    error::Error,
    store::{damaged, keys},
    transport::{Answer, Body},
};

/// An access token is renewed so many seconds before it ends; a short one when half of its life is over.
const MARGIN_S: i64 = 30;

/// Tokens as they are kept.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    tokens: Tokens,
    /// When it is renewed, in microseconds since 1970.
    expires_at: i64,
}

impl Engine {
    /// Keeps new tokens.
    pub(crate) async fn keep_tokens(&self, tokens: Tokens) -> Result<(), Error> {
        let life = i64::from(tokens.expires_in);
        let expires_at = self.now().plus_seconds(life - MARGIN_S.min(life / 2)).0;
        let text = serde_json::to_vec(&Kept { tokens, expires_at }).map_err(|_| damaged())?;
        let mut tx = self.store.begin().await?;
        keys::set(&mut tx, keys::name::TOKENS, &text).await?;
        keys::remove(&mut tx, keys::name::ENDED).await?;
        Ok(tx.commit().await?)
    }

    /// Keeps another access token of the same session.
    pub(crate) async fn keep_access_token(&self, token: String, expires_in: u32) -> Result<(), Error> {
        let _one = self.refreshing.lock().await;
        let Kept { tokens, .. } = self.tokens().await?;
        self.keep_tokens(Tokens { access_token: token, expires_in, ..tokens }).await
    }

    async fn tokens(&self) -> Result<Kept, Error> {
        let mut db = self.store.pool().acquire().await?;
        match keys::get(&mut db, keys::name::TOKENS).await? {
            Some(text) => serde_json::from_slice(&text).map_err(|_| damaged()),
            None => Err(Error::Revoked(ended(&mut db).await?)),
        }
    }

    /// Whether there is a session.
    pub(crate) async fn has_session(&self) -> Result<bool, Error> {
        let mut db = self.store.pool().acquire().await?;
        Ok(keys::get(&mut db, keys::name::TOKENS).await?.is_some())
    }

    /// This device's session.
    pub(crate) async fn session(&self) -> Result<lockstep_events::SessionId, Error> {
        Ok(self.tokens().await?.tokens.session)
    }

    /// When and why the last session ended, if there is no other one and the server told.
    pub(crate) async fn session_end(&self) -> Result<Option<SessionEnd>, Error> {
        ended(&mut *self.store.pool().acquire().await?).await
    }

    /// Forgets the session: it has ended. Why is kept, if it is known.
    pub(crate) async fn forget_session(&self, end: Option<SessionEnd>) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        keys::remove(&mut tx, keys::name::TOKENS).await?;
        if let Some(end) = end {
            let text = serde_json::to_vec(&end).map_err(|_| damaged())?;
            keys::set(&mut tx, keys::name::ENDED, &text).await?;
        }
        Ok(tx.commit().await?)
    }

    /// To a device that proved its password and key the server said that it was revoked.
    pub(crate) async fn device_is_revoked(&self) -> Result<(), Error> {
        let known = self.session_end().await?;
        // When it was revoked is perhaps known already.
        let known = known.filter(|end| end.reason == Some(RevokeReason::DeviceRevoked));
        let end = known.unwrap_or(SessionEnd { at: None, reason: Some(RevokeReason::DeviceRevoked) });
        self.forget_session(Some(end)).await
    }

    /// An access token that is valid for a while, renewed if need be.
    pub(crate) async fn access_token(&self) -> Result<String, Error> {
        let kept = self.tokens().await?;
        if kept.expires_at > self.now().0 {
            return Ok(kept.tokens.access_token);
        }
        self.renew(&kept.tokens.access_token).await
    }

    /// Renews the tokens, unless somebody else did since `stale` was read.
    pub(crate) async fn renew(&self, stale: &str) -> Result<String, Error> {
        let _one = self.refreshing.lock().await;
        let kept = self.tokens().await?;
        if kept.tokens.access_token != stale {
            return Ok(kept.tokens.access_token);
        }
        let refresh_token = kept.tokens.refresh_token;
        let signature = self.keys.device_key.sign(&proof_message(refresh_token.as_bytes()));
        let body = Body::json(&Refresh { refresh_token, signature })?;
        let answer = self.transport.send(Method::POST, "/v1/sessions/refresh", None, &[], body).await?;
        let tokens: Tokens = match answer.json() {
            Err(Error::Revoked(end)) => {
                self.forget_session(end).await?;
                return Err(Error::Revoked(end));
            }
            other => other?,
        };
        if tokens.account != self.profile.account || tokens.device != self.profile.device {
            return Err(Error::Protocol("tokens of another device"));
        }
        let access = tokens.access_token.clone();
        self.keep_tokens(tokens).await?;
        Ok(access)
    }

    /// Sends a request with this device's token; a token that expired on the way is renewed once.
    pub(crate) async fn request(&self, method: Method, path: &str, body: Body) -> Result<Answer, Error> {
        self.request_with(method, path, &[], body).await
    }

    /// As [`Self::request`], with more headers.
    pub(crate) async fn request_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(String, String)],
        body: Body,
    ) -> Result<Answer, Error> {
        let token = self.access_token().await?;
        let answer = self.transport.send(method.clone(), path, Some(&token), headers, body.clone()).await?;
        let token = match code(&answer) {
            Some(Code::Revoked) => self.ask_why(&token).await?,
            Some(Code::TokenExpired | Code::Unauthenticated) => self.renew(&token).await?,
            _ => return Ok(answer),
        };
        self.transport.send(method, path, Some(&token), headers, body).await
    }

    /// A token that is refused says nothing about its session. A refresh does, by the key of this device; or it gives
    /// the token of another session, which another process of this profile has opened.
    async fn ask_why(&self, refused: &str) -> Result<String, Error> {
        match self.renew(refused).await {
            Ok(token) => Ok(token),
            Err(Error::Revoked(end)) => Err(Error::Revoked(end)),
            Err(_) => {
                self.forget_session(None).await?;
                Err(Error::Revoked(None))
            }
        }
    }

    /// Asks for JSON.
    pub(crate) async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.request(Method::GET, path, Body::None).await?.json()
    }

    /// Sends JSON and reads JSON.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        self.request(Method::POST, path, Body::json(body)?).await?.json()
    }
}

fn code(answer: &Answer) -> Option<Code> {
    let failed = !answer.status.is_success();
    failed
        .then(|| serde_json::from_slice::<lockstep_api::Problem>(&answer.body).ok())?
        .map(|problem| problem.code)
}

async fn ended(db: &mut SqliteConnection) -> Result<Option<SessionEnd>, Error> {
    let kept = keys::get(db, keys::name::ENDED).await?;
    Ok(kept.and_then(|text| serde_json::from_slice(&text).ok()))
}
