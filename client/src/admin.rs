//! For administrators, and for the person whose account it is: requests that need a fresh proof of the password, and
//! requests that say why.

use lockstep_api::account::{LoginStarted, StepUpFinish, StepUpStart, SteppedUp};
use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    account::heavy,
    crypto::{opaque::Login, os_random, password::Password},
    engine::Engine,
    error::Error,
    transport::Body,
};

impl Engine {
    /// Proves the password again: the session counts as freshly proven for five minutes.
    pub(crate) async fn step_up(&self, password: &Password) -> Result<(), Error> {
        let (login, request) = Login::start(password, &mut os_random())?;
        let start = StepUpStart { request: request.into() };
        let started: LoginStarted = self.post("/v1/sessions/step-up/start", &start).await?;
        let response = started.response.0;
        let done = heavy(move || login.finish(&response, &mut os_random())).await;
        let done = done.map_err(|_| Error::LoginFailed)?;
        let finish = StepUpFinish { attempt: started.attempt, finalization: done.finalization.into() };
        let stepped: SteppedUp = self.post("/v1/sessions/step-up/finish", &finish).await?;
        self.keep_access_token(stepped.access_token, stepped.expires_in).await
    }

    /// Where a path of the API is answered.
    fn served_at(&self, path: &str) -> String {
        let office = self.office.get().filter(|_| path.starts_with("/v1/admin/"));
        format!("{}{path}", office.map_or("", |url| url.trim_end_matches('/')))
    }

    /// Asks for JSON and says why.
    pub(crate) async fn look<T: DeserializeOwned>(&self, path: &str, reason: &str) -> Result<T, Error> {
        let headers = [("lockstep-reason".to_owned(), reason.to_owned())];
        self.request_with(Method::GET, &self.served_at(path), &headers, Body::None).await?.json()
    }

    /// Sends JSON, or nothing, and reads JSON.
    pub(crate) async fn act<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        self.post(&self.served_at(path), body).await
    }

    /// Deletes something.
    pub(crate) async fn take_away(&self, path: &str) -> Result<(), Error> {
        self.request(Method::DELETE, &self.served_at(path), Body::None).await?.ok().map(drop)
    }
}
