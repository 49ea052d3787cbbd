//! A person's data as a whole: written out for somebody; its end, asked for, called off, done.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ids::{AccountId, VaultId},
    public,
    time::Micros,
};

public! {
    /// Who asked for an export or an erasure.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum AskedBy {
        /// The person.
        Person,
        /// An administrator, with a sealed reason.
        Administrator,
        /// Who runs the server, at its command line.
        Operator,
    }

    /// Everything about the account was written out for somebody. It stands before the first line of it.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct AccountExported {
        /// Who asked.
        pub by: AskedBy,
    }

    /// Everything about the account will be erased, unless it is called off before.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ErasureRequested {
        /// The account.
        pub account: AccountId,
        /// Who asked.
        pub by: AskedBy,
        /// When it begins.
        pub due_at: Micros,
    }

    /// An erasure was called off in time.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ErasureCancelled {
        /// The account.
        pub account: AccountId,
    }

    /// An erasure begins: from here on it cannot be called off.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ErasureBegun {
        /// The account.
        pub account: AccountId,
    }

    /// What an erasure destroyed.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ErasedCounts {
        /// Sessions that ended by it.
        pub sessions: u64,
        /// Rows of credentials, names and kept answers.
        pub rows: u64,
        /// Short ciphertexts in the log.
        pub contents: u64,
        /// Long ciphertexts.
        pub blobs: u64,
        /// Sealed parts of events.
        pub sealed: u64,
    }

    /// Everything about the account was erased: its keys are destroyed, what they sealed and all ciphertext is gone.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct SubjectErased {
        /// The account.
        pub account: AccountId,
        /// Its vaults, erased with it.
        pub vaults: Vec<VaultId>,
        /// The destroyed keys, by id.
        pub keys: Vec<Uuid>,
        /// How much there was.
        pub counts: ErasedCounts,
    }

    /// A vault was erased with its account.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct VaultErased {
        /// The vault.
        pub vault: VaultId,
        /// Its owner.
        pub account: AccountId,
    }
}
