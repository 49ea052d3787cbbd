//! What changes something: load, decide, append. One decision, one file.

pub mod account;
pub mod address;
pub mod admin;
pub mod approve;
pub mod begin_erasure;
pub mod bill;
pub mod change_password;
pub mod create_vault;
pub mod end_access;
pub mod end_session;
pub mod enrol_device;
pub mod erase;
pub mod factor_body;
pub mod facts;
pub mod identities;
pub mod invited;
pub mod label_device;
pub mod login;
pub mod offer_roster;
pub mod prove_identity;
pub mod prune;
pub mod purge;
pub mod push;
pub mod put_off_erasure;
pub mod recovery;
pub mod refresh;
pub mod register;
pub mod replace;
pub mod revoke_device;
pub mod roster;
#[cfg(test)]
mod roster_testing;
pub mod rotate_key;
pub mod second_factor;
pub mod session;
pub mod set_factor;
pub mod turn_vault_key;
