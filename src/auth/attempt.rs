//! What is kept between the first and the second message of a registration or login.

use lockstep_events::{AccountId, DeviceId, Micros, SessionId, event::Method, ids::Signature};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::credentials::NameIndex;

/// An attempt lives so long, in seconds.
pub const LIFE_S: i64 = 60;

/// A login whose password is proven.
#[derive(Clone, Serialize, Deserialize)]
pub struct Proven {
    /// The blind index of the name whose failure this counts as until it ends well.
    pub name: Option<[u8; 32]>,
    /// Whose.
    pub account: AccountId,
    /// SHA-256 of the password record that was proven.
    pub record: [u8; 32],
    /// When.
    pub at: Micros,
    /// If the device is enrolled: device, what it signed, its signature.
    pub proof: Option<(DeviceId, Vec<u8>, Signature)>,
}

/// A vault that a device of the account opens for whom a mailed link or an identity elsewhere has proven.
#[derive(Clone, Serialize, Deserialize)]
pub struct Opening {
    /// Whose.
    pub account: AccountId,
    /// The session of the proof.
    pub session: SessionId,
    /// How it was proven.
    pub method: Method,
    /// Device, what it signed, its signature.
    pub proof: (DeviceId, Vec<u8>, Signature),
}

/// What a second factor opens.
#[derive(Clone, Serialize, Deserialize)]
pub enum Purpose {
    /// A login.
    Login(Proven),
    /// A step-up.
    StepUp {
        /// Whose.
        account: AccountId,
        /// The session in which it was asked for.
        session: SessionId,
    },
    /// A vault.
    Vault(Opening),
}

impl Purpose {
    /// Whose it is.
    pub fn account(&self) -> AccountId {
        let (Self::Login(Proven { account, .. })
        | Self::StepUp { account, .. }
        | Self::Vault(Opening { account, .. })) = self;
        *account
    }
}

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
        /// The account, or the one that a name without an account seems to have: then the login fails at its end.
        account: AccountId,
        /// SHA-256 of the password record that it is about.
        record: [u8; 32],
        /// OPAQUE's own state.
        state: Vec<u8>,
    },
    /// A change of the password.
    ChangePassword {
        /// The session in which it was asked for.
        session: SessionId,
        /// The OPAQUE setup that answered.
        setup: u32,
    },
    /// A new password by the recovery code, which was right.
    Recover {
        /// Whose.
        account: AccountId,
        /// The slot whose code it was.
        slot: Uuid,
        /// The OPAQUE setup that answered.
        setup: u32,
    },
    /// A proven password that needs a second factor.
    SecondFactor {
        /// What it is for.
        purpose: Purpose,
        /// What a passkey signs.
        challenge: [u8; 32],
    },
    /// A passkey that is being registered.
    Passkey {
        /// The session in which it was asked for.
        session: SessionId,
        /// What the authenticator signs.
        challenge: [u8; 32],
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
