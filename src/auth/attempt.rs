//! What is kept between the first and the second message of a registration or login.

use lockstep_events::{AccountId, SessionId};
use serde::{Deserialize, Serialize};

use super::credentials::NameIndex;

/// An attempt lives so long, in seconds.
pub const LIFE_S: i64 = 60;

/// An attempt.
#[derive(Clone, Serialize, Deserialize)]
pub enum Attempt {
    /// A registration.
    Register {
        /// The blind index of the name.
        name: [u8; 32],
        /// The id that the account will have.
        account: AccountId,
        /// The OPAQUE setup that answered.
        setup: u32,
    },
    /// A login.
    Login {
        /// The blind index of the name whose failure this attempt counts as until it ends well.
        name: Option<[u8; 32]>,
        /// The account; none if there is none with that name, and then the login fails at its end.
        account: Option<AccountId>,
        /// OPAQUE's own state.
        state: Vec<u8>,
    },
    /// A password proven again.
    StepUp {
        /// The session in which it was asked for.
        session: SessionId,
        /// OPAQUE's own state.
        state: Vec<u8>,
    },
}

impl Attempt {
    /// As it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// From what was stored.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// A registration.
    pub fn register(name: NameIndex, account: AccountId, setup: u32) -> Self {
        Self::Register { name: name.0, account, setup }
    }
}
