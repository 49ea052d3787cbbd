//! The roster, offered back: a server that was restored to a time before a device joined does not know that device
//! any more. Every device that holds the statement can give it back, so that the device goes on working.

use lockstep_api::account::OfferRoster;
use lockstep_events::roster::Statement;
use reqwest::Method;
use sqlx::SqliteConnection;

use crate::{
    engine::Engine,
    error::Error,
    store::keys,
    transport::{Body, Transport},
};

const DUE: &str = "offer/roster";
/// Statements of one request.
const MOST: usize = 64;

/// The roster is offered as soon as this device has read the account's stream to its head.
pub(crate) async fn make_due(db: &mut SqliteConnection) -> Result<(), Error> {
    keys::set(db, DUE, b"1").await
}

/// Offers statements with any token of the account. The server skips those that it has.
pub(crate) async fn roster(transport: &Transport, token: &str, all: &[Statement]) -> Result<(), Error> {
    for part in all.chunks(MOST) {
        let body = Body::json(&OfferRoster { statements: part.to_vec() })?;
        transport.send(Method::POST, "/v1/roster", Some(token), &[], body).await?.ok()?;
    }
    Ok(())
}

impl Engine {
    /// Offers the roster if that is due. Whether it was.
    pub(crate) async fn offer_roster_if_due(&self) -> Result<bool, Error> {
        let mut db = self.store.pool().acquire().await?;
        if keys::get(&mut db, DUE).await?.is_none() {
            return Ok(false);
        }
        let all = keys::statements(&mut db).await?;
        drop(db);
        let token = self.access_token().await?;
        roster(&self.transport, &token, &all).await?;
        let mut tx = self.store.begin().await?;
        keys::remove(&mut tx, DUE).await?;
        tx.commit().await?;
        Ok(true)
    }
}
