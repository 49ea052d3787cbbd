//! Who asks, and how they prove it: passwords by OPAQUE, access tokens, refresh tokens, and what is kept of them.

pub mod attempt;
pub mod credentials;
pub mod jwt;
pub mod minting;
pub mod opaque;
pub mod refresh;
pub mod server_keys;
pub mod signing_keys;
pub mod token;
