//! Rosters for the tests of commands.

use ed25519_dalek::SigningKey;
use lockstep_events::{
    AccountId, DeviceId, Hash32,
    header::public_key,
    roster::{Claim, Roster, Statement},
};
use uuid::Uuid;

/// An account signing key.
pub fn ask() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// Whose roster it is.
pub fn account() -> AccountId {
    AccountId(Uuid::from_u128(1))
}

/// That a device joins.
pub fn added(device: u128) -> Claim {
    Claim::DeviceAdded { device: DeviceId(Uuid::from_u128(device)), public_key: public_key(&ask()) }
}

/// The statement that follows a roster.
pub fn next(roster: &Roster, claim: Claim) -> Statement {
    Statement::sign(&ask(), account(), roster.epoch + 1, roster.last, claim)
}

/// The statements of an account with so many devices.
pub fn stated(key: &SigningKey, devices: u128) -> Vec<Statement> {
    let created = Claim::AccountCreated { signing_key: public_key(key) };
    let mut all = vec![Statement::sign(key, account(), 0, Hash32::ZERO, created)];
    for device in 1..=devices {
        let (epoch, previous) = (all.len(), all.last().map_or(Hash32::ZERO, Statement::hash));
        all.push(Statement::sign(key, account(), u32::try_from(epoch).unwrap(), previous, added(device)));
    }
    all
}

/// What they come to.
pub fn fold(stated: &[Statement]) -> Roster {
    let mut roster = Roster::start(&stated[0]).unwrap();
    stated[1..].iter().for_each(|next| roster.apply(next).unwrap());
    roster
}

/// The same with the statements.
pub fn with_devices(devices: u128) -> (Roster, Vec<Statement>) {
    let stated = stated(&ask(), devices);
    (fold(&stated), stated)
}
