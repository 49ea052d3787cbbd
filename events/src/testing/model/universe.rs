//! All versions of one run, with the real headers and ids, under small numbers.

use std::collections::HashMap;

use crate::{
    header::{FORMAT, Header, VersionKind},
    ids::{AccountId, BlobHash, Chain, DeviceId, EntryId, Seq, VaultId, VersionId},
};
use uuid::Uuid;

/// Number of a version in [`Universe::made`].
pub type V = usize;

/// A version that somebody made.
#[derive(Debug, Clone)]
pub struct Made {
    /// SHA-256 of its header.
    pub id: VersionId,
    /// Its header.
    pub header: Header,
    /// Its parents by number, in the order of the header.
    pub parents: Vec<V>,
    /// Its entry by number.
    pub entry: usize,
}

/// What a person decides, before it is a header.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Entry by number.
    pub entry: usize,
    /// What it does.
    pub kind: VersionKind,
    /// What it builds on.
    pub parents: Vec<V>,
    /// For adopt.
    pub content_of: Option<V>,
    /// Length of the ciphertext, where there is one.
    pub content_len: u32,
}

/// Who makes a version, and what that device had seen of the log.
#[derive(Debug, Clone, Copy)]
pub struct Author {
    /// Device by number.
    pub device: usize,
    /// Its cursor.
    pub seq: u64,
    /// The chain there.
    pub chain: Chain,
    /// Its clock, in milliseconds.
    pub clock: i64,
}

/// Every version of a run.
#[derive(Debug, Clone, Default)]
pub struct Universe {
    /// By number.
    pub made: Vec<Made>,
    by_id: HashMap<VersionId, V>,
}

impl Universe {
    /// Makes a version. The same silent choice (adopt, tombstone) is the same version on every device.
    #[expect(clippy::needless_pass_by_value, reason = "a choice is made once")]
    pub fn make(&mut self, choice: Choice, author: Author) -> V {
        let number = self.made.len();
        let mut parents: Vec<_> = choice.parents.iter().map(|v| (self.made[*v].id, *v)).collect();
        parents.sort_unstable();
        let header = self.header(&choice, &parents, author, number);
        let id = header.version_id();
        let parents = parents.into_iter().map(|(_, v)| v).collect();
        *self.by_id.entry(id).or_insert_with(|| {
            self.made.push(Made { id, header, parents, entry: choice.entry });
            number
        })
    }

    fn header(&self, choice: &Choice, parents: &[(VersionId, V)], author: Author, number: V) -> Header {
        let content = choice.kind.has_content();
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
        Header {
            format: FORMAT,
            account: AccountId(Uuid::from_u128(1)),
            vault: VaultId(Uuid::from_u128(2)),
            entry: EntryId(Uuid::from_u128(100 + choice.entry as u128)),
            kind: choice.kind,
            parents: parents.iter().map(|(id, _)| *id).collect(),
            content_of: choice.content_of.map(|v| self.made[v].id),
            key_id: Uuid::from_u128(u128::from(content) * 3),
            content_hash: content.then_some(BlobHash(hash)),
            content_len: if content { choice.content_len } else { 0 },
            author_device: if content { device_id(author.device) } else { DeviceId::NIL },
            observed_seq: if content { Seq(author.seq) } else { Seq::ZERO },
            observed_chain: if content { author.chain } else { Chain::ZERO },
            client_time: if content { author.clock } else { 0 },
        }
    }

    /// The ids of a version's parents, as its header has them.
    pub fn parent_ids(&self, v: V) -> &[VersionId] {
        &self.made[v].header.parents
    }

    /// The number behind an id.
    pub fn number(&self, id: &VersionId) -> Option<V> {
        self.by_id.get(id).copied()
    }
}

/// The id of a device by its number.
pub fn device_id(device: usize) -> DeviceId {
    DeviceId(Uuid::from_u128(0x1000 + device as u128))
}
