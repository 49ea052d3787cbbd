//! What changes something: load, decide, append. One decision, one file.

pub mod account;
pub mod address;
pub mod admin;
pub mod bill;
pub mod end_access;
pub mod end_session;
pub mod enrol_device;
pub mod erase;
pub mod facts;
pub mod identities;
pub mod invited;
pub mod login;
pub mod offer_roster;
pub mod prove_identity;
pub mod prune;
pub mod purge;
pub mod push;
pub mod refresh;
pub mod register;
pub mod revoke_device;
pub mod roster;
pub mod rotate_key;
pub mod session;
