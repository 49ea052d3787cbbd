//! For administrators: requests that say why.

use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Client, engine::Engine, error::Error, transport::Body};

/// The header that says why.
const REASON: &str = "lockstep-reason";

impl Client {
    /// As [`Client::take_away`], saying why: what an administrator withdraws. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn withdraw(&self, path: &str, reason: &str) -> Result<(), Error> {
        self.engine.withdraw(path, reason).await
    }
}

impl Engine {
    /// Where a path of the API is answered.
    fn served_at(&self, path: &str) -> String {
        let office = self.office.get().filter(|_| path.starts_with("/v1/admin/"));
        format!("{}{path}", office.map_or("", |url| url.trim_end_matches('/')))
    }

    /// Asks for JSON and says why.
    pub(crate) async fn look<T: DeserializeOwned>(&self, path: &str, reason: &str) -> Result<T, Error> {
        let headers = [(REASON.to_owned(), reason.to_owned())];
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

    /// Deletes something and says why.
    pub(crate) async fn withdraw(&self, path: &str, reason: &str) -> Result<(), Error> {
        let headers = [(REASON.to_owned(), reason.to_owned())];
        self.request_with(Method::DELETE, &self.served_at(path), &headers, Body::None).await?.ok().map(drop)
    }

    /// Deletes something.
    pub(crate) async fn take_away(&self, path: &str) -> Result<(), Error> {
        self.request(Method::DELETE, &self.served_at(path), Body::None).await?.ok().map(drop)
    }
}
