//! Who asks, and how they prove it: passwords by OPAQUE, access tokens, refresh tokens, and what is kept of them.

pub mod credentials;
pub mod server_keys;
