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
    crypto::os_random,
    engine::Engine,
    error::Error,
    me,
    store::{damaged, keys},
    sync::backoff::Backoff,
    transport::{Answer, Body, was_cut},
};

/// An access token is renewed so many seconds before it ends; a short one when half of its life is over.
const MARGIN_S: i64 = 30;
/// So many seconds another program has a token at least.
const LASTING_S: i64 = 120;
/// A request that has a name is sent so often before the line is given up.
const TRIES: u32 = 3;

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
        let mut tx = self.store.begin().await?;
        self.put(&mut tx, tokens).await?;
        Ok(tx.commit().await?)
    }

    async fn put(&self, db: &mut SqliteConnection, tokens: Tokens) -> Result<(), Error> {
        let life = i64::from(tokens.expires_in);
        let expires_at = self.now().plus_seconds(life - MARGIN_S.min(life / 2)).0;
        let text = serde_json::to_vec(&Kept { tokens, expires_at }).map_err(|_| damaged())?;
        keys::set(db, keys::name::TOKENS, &text).await?;
        keys::remove(db, keys::name::ENDED).await
    }

    /// Keeps another access token of the same session.
    pub(crate) async fn keep_access_token(&self, token: String, expires_in: u32) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        let Kept { tokens, .. } = kept(&mut tx).await?;
        self.put(&mut tx, Tokens { access_token: token, expires_in, ..tokens }).await?;
        Ok(tx.commit().await?)
    }

    async fn tokens(&self) -> Result<Kept, Error> {
        kept(&mut *self.store.pool().acquire().await?).await
    }

    /// What came of presenting a refresh token takes the place of its session: the next tokens, or that it ended. If
    /// another process of this profile has the next tokens or another session by now, that one stands; its access token.
    async fn succeed(
        &self,
        presented: &str,
        next: Result<Tokens, Option<SessionEnd>>,
    ) -> Result<String, Error> {
        let mut tx = self.store.begin().await?;
        let Kept { tokens: now, .. } = kept(&mut tx).await?;
        if now.refresh_token != presented {
            return Ok(now.access_token);
        }
        let outcome = match next {
            Ok(tokens) => {
                let access = tokens.access_token.clone();
                self.put(&mut tx, tokens).await?;
                Ok(access)
            }
            Err(end) => {
                forget(&mut tx, end).await?;
                Err(Error::Revoked(end))
            }
        };
        tx.commit().await?;
        outcome
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
        forget(&mut tx, end).await?;
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

    /// The same, good for two minutes more, or for half of a shorter life.
    pub(crate) async fn lasting_access_token(&self) -> Result<String, Error> {
        let kept = self.tokens().await?;
        let needed = (LASTING_S - MARGIN_S).min(i64::from(kept.tokens.expires_in) / 2);
        if kept.expires_at > self.now().plus_seconds(needed).0 {
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
        let presented = kept.tokens.refresh_token;
        let signature = self.keys.device_key.sign(&proof_message(presented.as_bytes()));
        let body = Body::json(&Refresh { refresh_token: presented.clone(), signature })?;
        let answer = self.transport.send(Method::POST, "/v1/sessions/refresh", None, &[], body).await?;
        let tokens: Tokens = match answer.json() {
            Err(Error::Revoked(end)) => return self.succeed(&presented, Err(end)).await,
            other => other?,
        };
        if tokens.account != self.profile.account || tokens.device != self.profile.device {
            return Err(Error::Protocol("tokens of another device"));
        }
        self.succeed(&presented, Ok(tokens)).await
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
        let answer = self.send_named(method.clone(), path, &token, headers, body.clone()).await?;
        let token = match code(&answer) {
            Some(Code::Revoked) => self.ask_why(&token).await?,
            Some(Code::TokenExpired | Code::Unauthenticated) => self.renew(&token).await?,
            _ => return Ok(answer),
        };
        self.transport.send(method, path, Some(&token), headers, body).await
    }

    /// Sends a request. One that has a name is done once however often it comes: if the line breaks before its answer is
    /// here, it is sent again.
    async fn send_named(
        &self,
        method: Method,
        path: &str,
        token: &str,
        headers: &[(String, String)],
        body: Body,
    ) -> Result<Answer, Error> {
        let send = || self.transport.send(method.clone(), path, Some(token), headers, body.clone());
        let named = headers.iter().any(|(name, _)| name == me::KEY);
        let mut backoff = Backoff::default();
        for _ in 1..TRIES {
            match send().await {
                Err(error) if named && was_cut(&error) => {
                    tokio::time::sleep(backoff.next(None, &mut os_random())).await;
                }
                other => return other,
            }
        }
        send().await
    }

    /// A token that is refused says nothing about its session. A refresh does, by the key of this device; or it gives
    /// the token of another session, which another process of this profile has opened.
    async fn ask_why(&self, refused: &str) -> Result<String, Error> {
        match self.renew(refused).await {
            Ok(token) => Ok(token),
            Err(Error::Revoked(end)) => Err(Error::Revoked(end)),
            // Nothing was learnt about the session.
            Err(error @ (Error::Local(_) | Error::File(_))) => Err(error),
            Err(error) if error.is_transient() => Err(error),
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

async fn kept(db: &mut SqliteConnection) -> Result<Kept, Error> {
    match keys::get(db, keys::name::TOKENS).await? {
        Some(text) => serde_json::from_slice(&text).map_err(|_| damaged()),
        None => Err(Error::Revoked(ended(db).await?)),
    }
}

async fn forget(db: &mut SqliteConnection, end: Option<SessionEnd>) -> Result<(), Error> {
    keys::remove(db, keys::name::TOKENS).await?;
    if let Some(end) = end {
        let text = serde_json::to_vec(&end).map_err(|_| damaged())?;
        keys::set(db, keys::name::ENDED, &text).await?;
    }
    Ok(())
}

async fn ended(db: &mut SqliteConnection) -> Result<Option<SessionEnd>, Error> {
    let kept = keys::get(db, keys::name::ENDED).await?;
    Ok(kept.and_then(|text| serde_json::from_slice(&text).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::testing::{TestDevice, two_devices};

    fn tokens(device: &TestDevice, session: u128, token: &str) -> Tokens {
        Tokens {
            account: device.account(),
            device: device.device(),
            session: uuid::Uuid::from_u128(session).into(),
            access_token: format!("access {token}"),
            expires_in: 300,
            refresh_token: token.to_owned(),
        }
    }

    #[tokio::test]
    async fn the_end_of_a_session_takes_no_other_one_with_it() {
        let (device, _, _, _) = two_devices().await;
        device.keep_tokens(tokens(&device, 1, "old")).await.unwrap();
        // While the answer about the old one is on its way, another process logs in.
        device.keep_tokens(tokens(&device, 2, "new")).await.unwrap();
        let access = device.succeed("old", Err(None)).await.unwrap();
        assert_eq!(access, "access new");
        let late = device.succeed("old", Ok(tokens(&device, 1, "successor"))).await.unwrap();
        assert_eq!(late, "access new");
        assert_eq!(device.session().await.unwrap(), uuid::Uuid::from_u128(2).into());
        assert!(matches!(device.succeed("new", Err(None)).await, Err(Error::Revoked(None))));
        assert!(!device.has_session().await.unwrap());
    }

    #[tokio::test]
    async fn a_token_for_another_program_is_renewed_when_less_than_two_minutes_of_it_are_left() {
        let (device, _, _, _) = two_devices().await;
        device.keep_tokens(tokens(&device, 1, "new")).await.unwrap();
        assert_eq!(device.lasting_access_token().await.unwrap(), "access new");
        let expires_at = device.now().plus_seconds(60).0;
        let aged = Kept { tokens: tokens(&device, 1, "old"), expires_at };
        let text = serde_json::to_vec(&aged).unwrap();
        let mut db = device.store.pool().acquire().await.unwrap();
        keys::set(&mut db, keys::name::TOKENS, &text).await.unwrap();
        drop(db);
        assert_eq!(device.access_token().await.unwrap(), "access old");
        assert!(device.lasting_access_token().await.is_err(), "it asks the server, which is none");
    }

    #[tokio::test]
    async fn another_access_token_leaves_the_refresh_token_as_it_is_by_then() {
        let (device, _, _, _) = two_devices().await;
        device.keep_tokens(tokens(&device, 1, "first")).await.unwrap();
        let renewed = device.succeed("first", Ok(tokens(&device, 1, "second"))).await.unwrap();
        assert_eq!(renewed, "access second");
        device.keep_access_token("stepped up".to_owned(), 300).await.unwrap();
        let kept = device.tokens().await.unwrap().tokens;
        assert_eq!((kept.access_token.as_str(), kept.refresh_token.as_str()), ("stepped up", "second"));
    }
}
