//! Who asks, and how they prove it: passwords by OPAQUE, access tokens, refresh tokens, and what is kept of them.

pub mod addresses;
pub mod attempt;
pub mod cbor;
pub mod credentials;
pub mod factors;
pub mod identities;
pub mod jwt;
pub mod minting;
pub mod oidc;
pub mod opaque;
pub mod passkey;
pub mod refresh;
#[cfg(test)]
mod refresh_model;
pub mod server_keys;
pub mod signing_keys;
pub mod token;
pub mod totp;
