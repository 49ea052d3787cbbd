//! Stores that keep something about people besides the log: each says what it has, and destroys it.
//!
//! Every table of every database stands in one of two lists: [`HeldTable`]s of an adapter (rows about people, which an
//! export shows and an erasure deletes), or [`ELSEWHERE`] (what becomes of it otherwise, or why it is about nobody). A
//! test walks the schemas of both databases and names the table that was forgotten.

use async_trait::async_trait;
use lockstep_events::{AccountId, VaultId};

use super::keys::KeyStoreError;

/// A person, by everything that a row may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The account.
    pub account: AccountId,
    /// Its vaults.
    pub vaults: Vec<VaultId>,
}

/// By what a row about a person is found: sixteen bytes in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// The column has the account.
    Account,
    /// The column has the account or one of its vaults: the streams of the log that are the person's.
    Streams,
}

impl Person {
    /// What the column of a row about the person may have.
    pub fn ids(&self, found_by: FoundBy) -> Vec<Vec<u8>> {
        let account = self.account.as_bytes().to_vec();
        let vaults = self.vaults.iter().map(|vault| vault.as_bytes().to_vec());
        match found_by {
            FoundBy::Account => vec![account],
            FoundBy::Streams => std::iter::once(account).chain(vaults).collect(),
        }
    }
}

/// A table with rows about people. A new one is a line in both adapters.
#[derive(Debug, Clone, Copy)]
pub struct HeldTable {
    /// Its name.
    pub table: &'static str,
    /// The column that says about whom a row is.
    pub column: &'static str,
    /// What stands in the column.
    pub found_by: FoundBy,
    /// What the person is shown of a row, as names and values of a JSON object in the adapter's SQL. Nothing that
    /// opens anything.
    pub shown: &'static str,
}

/// Tables that no [`Holding`] erases, each with what becomes of it, or why it has nothing about anybody.
pub const ELSEWHERE: &[(&str, &str)] = &[
    // The log.
    ("log_meta", "one row about the log"),
    ("streams", "ids and counters stay: the chain of every stream holds"),
    ("events", "public parts stay: ids, times, hashes"),
    ("contents", "short ciphertexts go in step 4"),
    ("event_sealed", "sealed parts go in step 6"),
    // The read models.
    ("read_rows", "folded into two stones in step 8"),
    ("read_checkpoints", "positions"),
    // Keys, and erasures themselves.
    ("subject_keys", "keys are destroyed in step 5; their tombstones stay"),
    ("erasures", "the row is taken out behind step 9"),
    // The server itself.
    ("server_facts", "about the server"),
    ("signing_keys", "about the server"),
    ("turns", "about the server"),
    ("attempts", "logins between their two messages, deleted within minutes"),
    // Mail.
    ("mail_reacted", "a position"),
    // Blobs.
    ("blobs", "rows go with the vault in step 4"),
    ("orphans", "rows go with their object in step 4"),
    ("uploads", "uploads are given up in step 4"),
    ("promised", "rows go with the vault in step 4"),
    // Limits.
    ("rl", "keyed hashes and times, deleted when they are over"),
    ("rl_kept", "keyed hashes and times, deleted when they are over"),
];

/// One kept row, as the person gets to see it: nothing in it opens anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRow {
    /// The table.
    pub table: &'static str,
    /// A JSON object.
    pub json: String,
}

/// Keeps something about people.
#[async_trait]
pub trait Holding: Send + Sync {
    /// Everything about a person.
    async fn held(&self, person: &Person) -> Result<Vec<HeldRow>, KeyStoreError>;

    /// Destroys everything about a person; how many rows. Doing it again changes nothing.
    async fn erase(&self, person: &Person) -> Result<u64, KeyStoreError>;

    /// Makes sure that what was destroyed is in no file that this store writes: a journal, a free page.
    async fn scrub(&self) -> Result<(), KeyStoreError>;
}
