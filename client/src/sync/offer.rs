//! The roster, offered back: a server that was restored to a time before a device joined does not know that device
//! any more. Every device that holds the statement can give it back, so that the device goes on working.

use lockstep_api::{
    Bytes64,
    account::{OfferRoster, Wrap},
};
use lockstep_events::roster::{Claim, Statement, vault_key_name};
use reqwest::Method;
use sqlx::SqliteConnection;

use crate::{
    engine::Engine,
    error::Error,
    store::keys::{self, VaultWraps},
    transport::{Body, Transport},
};

const DUE: &str = "offer/roster";
/// Statements of one request.
const MOST: usize = 64;

/// The roster is offered as soon as this device has read the account's stream to its head.
pub(crate) async fn make_due(db: &mut SqliteConnection) -> Result<(), Error> {
    keys::set(db, DUE, b"1").await
}

/// What is offered: statements, and the wrapped keys of those that begin a generation of one.
pub(crate) struct Offer {
    statements: Vec<Statement>,
    wraps: VaultWraps,
}

impl Offer {
    /// Everything that this device holds.
    pub(crate) async fn load(db: &mut SqliteConnection) -> Result<Self, Error> {
        Ok(Self { statements: keys::statements(db).await?, wraps: keys::vault_keys(db).await? })
    }

    /// Up to the first generation whose wrap this device has not learned yet: another device brings that one.
    pub(crate) fn requests(&self) -> Vec<OfferRoster> {
        let place = |statement: &Statement| match statement.claim {
            Claim::VaultKeyGen { vault, generation } => Some((vault, generation)),
            _ => None,
        };
        let whole = |statement: &&Statement| place(statement).is_none_or(|at| self.wraps.contains_key(&at));
        let offered: Vec<&Statement> = self.statements.iter().take_while(whole).collect();
        let wrap = |(vault, generation)| {
            let bytes = self.wraps.get(&(vault, generation))?.clone();
            Some(Wrap { name: vault_key_name(vault, generation), generation, bytes: Bytes64(bytes) })
        };
        let request = |part: &[&Statement]| OfferRoster {
            statements: part.iter().copied().cloned().collect(),
            wraps: part.iter().filter_map(|statement| place(statement)).filter_map(wrap).collect(),
        };
        offered.chunks(MOST).map(request).collect()
    }
}

/// Offers the roster with any token of the account. The server skips what it has.
pub(crate) async fn roster(transport: &Transport, token: &str, offer: &Offer) -> Result<(), Error> {
    for part in offer.requests() {
        let body = Body::json(&part)?;
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
        let all = Offer::load(&mut db).await?;
        drop(db);
        let token = self.access_token().await?;
        roster(&self.transport, &token, &all).await?;
        let mut tx = self.store.begin().await?;
        keys::remove(&mut tx, DUE).await?;
        tx.commit().await?;
        Ok(true)
    }
}
