//! Pushing versions: check each, decide per entry, append, answer exactly.
//!
//! The items of a push fall into *clusters*: items of one entry, and items of one group, belong together. A cluster
//! is one unit of the log: each entry in it is claimed at exactly the seq that the decision looked at, so what was
//! decided is what was committed. If another push came between, the cluster is decided again on what stands then.
//! All clusters are appended at the same time, so one batch of the log commits them.
//!
//! The usual push reads nothing: who may write, the stream's epoch and the heads of entries are kept in memory, a
//! refusal or a conflict makes this file look at the log. Nothing here waits for a read model.

mod answer;
mod batches;
mod check;
mod cluster;
pub mod decide;
mod infer;
mod pruned;
mod room;
mod settle;
mod signers;

use std::sync::Arc;

use futures_util::future::try_join_all;
use lockstep_events::{
    AccountId, BatchId, BlobHash, DeviceId, Epoch, EventLog, Header, LogError, Seq, VaultId, VersionId,
    graph::Head, ids::Signature, log::StreamHead,
};

use crate::{
    batcher::Batcher,
    blobs::{BlobError, Shelf},
    entries::EntryStates,
    members::Members,
    quotas::{Exceeded, Quotas},
    served::Served,
};
pub use batches::Batches;
pub use check::Ready;

/// Versions as a device sends them.
#[derive(Debug, Clone)]
pub struct Push {
    /// The account of the token.
    pub account: AccountId,
    /// The device of the token.
    pub device: DeviceId,
    /// The vault.
    pub vault: VaultId,
    /// The life of the vault's stream that the sender knows.
    pub epoch: Epoch,
    /// Names this push.
    pub batch: BatchId,
    /// The versions.
    pub items: Vec<Item>,
    /// Indices of items that are accepted together or not at all; in range and disjoint.
    pub groups: Vec<Vec<usize>>,
    /// Versions signed by other devices of the account may be among the items.
    pub reoffer: bool,
}

impl Push {
    /// Whether an author says that it saw more of this life than there is: the log lost its end, which the device meets as
    /// soon as it reads, or its app is wrong, and what it wrote would stop all other devices. What is offered again is of
    /// an earlier life.
    fn names_beyond(&self, head: Seq) -> bool {
        !self.reoffer && self.items.iter().any(|item| item.header.observed_seq > head)
    }
}

/// One version.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its header.
    pub header: Header,
    /// The device that signed.
    pub signer: DeviceId,
    /// By `signer` over the version id.
    pub signature: Signature,
    /// The wrapped content key, lower-case hex.
    pub wrapped_key: Option<String>,
    /// The ciphertext, if it came along.
    pub content: Option<Vec<u8>>,
    /// Accept only if these are the heads.
    pub expect_heads: Option<Vec<VersionId>>,
    /// Take parents from what the device was last served.
    pub infer_parents: bool,
    /// Blobs that are kept as long as it.
    pub attachments: Vec<BlobHash>,
}

/// Why a version was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// `expect_heads` did not hold.
    PreconditionFailed,
    /// These parents do not stand in the log.
    MissingParents(Vec<VersionId>),
    /// Its ciphertext is neither here nor stored.
    BlobMissing,
    /// Its ciphertext does not have the hash or length of the header.
    HashMismatch,
    /// Its entry was purged.
    EntryPurged,
    /// Its entry has too many open branches.
    TooManyBranches,
    /// It is not right in itself, or not the sender's.
    Forbidden(Unfit),
    /// The plan has no room for it.
    QuotaExceeded(Exceeded),
    /// Another item of its group was refused.
    NotAttempted,
}

/// What is not right about a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// What it breaks.
    pub rule: Rule,
    /// The same as a sentence.
    pub why: String,
}

/// What a version keeps to, whoever else writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// At most 64 parents.
    Parents,
    /// The header's format, and an entry that it names.
    Header,
    /// The account of the token.
    Account,
    /// The vault of the address.
    Vault,
    /// A device of the account that may sign this.
    Signer,
    /// Its signature, over the id that the header has.
    Signature,
    /// Parents are inferred only for who knows none.
    InferredParents,
    /// A wrapped key that can be one, exactly where there is content.
    WrappedKey,
    /// Few enough attachments, where there is content.
    Attachments,
    /// A short ciphertext, where the kind has one.
    Content,
    /// Parents of its own entry.
    ForeignParent,
    /// A choice among versions of its own entry with content.
    ContentOf,
    /// An identity that no other version has.
    Identity,
}

impl Refusal {
    fn forbidden(rule: Rule, why: &str) -> Self {
        Self::Forbidden(Unfit { rule, why: why.to_owned() })
    }
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was appended.
    Accepted {
        /// Where.
        seq: Seq,
        /// The branch it stands on.
        branch: u32,
        /// Whether it opened that branch beside others.
        forked: bool,
        /// The heads of its entry after it.
        heads: Vec<Head>,
    },
    /// It stood already.
    Duplicate {
        /// Where.
        seq: Seq,
        /// The branch, if it is a head.
        branch: Option<u32>,
        /// The present heads of its entry.
        heads: Vec<Head>,
    },
    /// It was refused.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The present heads of its entry, where they have to do with it.
        heads: Option<Vec<Head>>,
    },
}

/// What became of a push.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The life of the stream.
    pub epoch: Epoch,
    /// Its last seq, as far as this push knows.
    pub head: Seq,
    /// One per item, in order.
    pub answers: Vec<(VersionId, Answer)>,
}

/// Why a push as a whole was not done. Parts of it may stand: the sender repeats it and gets duplicates.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// There is no such vault, or it is another account's.
    #[error("there is no such vault")]
    NotFound,
    /// The stream has another life, or is shorter than an author saw it. Nothing was done.
    #[error("the stream has another epoch")]
    Epoch(StreamHead),
    /// The batch came before with other versions. Nothing was done.
    #[error("the batch came before with other versions")]
    BatchReused,
    /// Other writers changed the same entries again and again while this push was decided.
    #[error("the entries changed too often meanwhile")]
    Contended,
    /// The log did not answer.
    #[error("the log did not take the push")]
    Log(#[from] LogError),
    /// The index of blobs did not answer.
    #[error("the index of blobs did not answer")]
    Blobs(#[from] BlobError),
}

/// Takes pushes.
pub struct Pusher {
    /// For look-ups.
    pub log: Arc<dyn EventLog>,
    /// For appends.
    pub batcher: Batcher,
    /// Long ciphertexts.
    pub shelf: Arc<Shelf>,
    /// Heads.
    pub entries: Arc<EntryStates>,
    /// Who may write.
    pub members: Arc<Members>,
    /// For inferred parents.
    pub served: Arc<Served>,
    /// What came lately.
    pub batches: Batches,
    /// Whether there is room.
    pub quotas: Arc<Quotas>,
}

impl Pusher {
    /// Does a push.
    ///
    /// # Errors
    /// [`PushError`], if it could not be attempted or its end is unknown. What an item did wrong is its answer.
    pub async fn push(&self, push: Push) -> Result<Pushed, PushError> {
        if self.members.owner(push.vault).await? != Some(push.account) {
            return Err(PushError::NotFound);
        }
        let mut head = self.members.head(push.vault).await?.ok_or(PushError::NotFound)?;
        if head.epoch != push.epoch {
            // The sender may have heard of another life before this node.
            head = self.members.head_now(push.vault).await?.ok_or(PushError::NotFound)?;
        }
        if push.names_beyond(head.seq) {
            // What this node knows of the end may be old.
            head = self.members.head_now(push.vault).await?.ok_or(PushError::NotFound)?;
        }
        if head.epoch != push.epoch || push.names_beyond(head.seq) {
            return Err(PushError::Epoch(head));
        }
        let ready = self.check(&push).await?;
        if !self.batches.admit(&push, &ready) {
            return Err(PushError::BatchReused);
        }
        let clusters = cluster::clusters(&ready, &push.groups);
        let settled =
            try_join_all(clusters.iter().map(|cluster| self.settle(&push, &ready, cluster))).await?;
        let mut answers: Vec<_> = ready.iter().map(|item| (item.version, None)).collect();
        for (index, answer) in settled.into_iter().flatten() {
            answers[index].1 = Some(answer);
        }
        let answers = answer::complete(&ready, answers);
        let last = answers.iter().filter_map(|(_, answer)| answer.seq()).max().unwrap_or_default();
        self.members.advance(push.vault, last);
        Ok(Pushed { epoch: head.epoch, head: head.seq.max(last), answers })
    }

    /// Checks every item by itself. Signatures of one's own device need no look-up; those of others, which only a
    /// re-offer brings, are looked up afresh, so that a revoked device is refused.
    async fn check(&self, push: &Push) -> Result<Vec<Ready>, PushError> {
        let mut ready: Vec<Ready> = Vec::with_capacity(push.items.len());
        let served = if push.items.iter().any(|item| item.infer_parents) {
            self.served.to(push.device, push.vault.into(), push.epoch).await
        } else {
            Seq::ZERO
        };
        for (index, item) in push.items.iter().enumerate() {
            let mut checked = Ready::new(index, item, push);
            if checked.refusal.is_none() {
                let own = item.signer == push.device;
                let device = self.members.device(push.account, item.signer, !own).await?;
                checked.verify(item, device);
            }
            if let (None, Some(author)) = (&checked.refusal, item.stands_in_for()) {
                checked.stands_in(self.members.device(push.account, author, true).await?);
            }
            if checked.refusal.is_none() && item.infer_parents {
                checked.parents = self.infer(push, &item.header, checked.version, served).await?;
            }
            checked.first = ready.iter().position(|earlier| earlier.version == checked.version);
            ready.push(checked);
        }
        Ok(ready)
    }
}

impl Answer {
    /// Where the version stands.
    pub const fn seq(&self) -> Option<Seq> {
        match self {
            Self::Accepted { seq, .. } | Self::Duplicate { seq, .. } => Some(*seq),
            Self::Refused { .. } => None,
        }
    }
}

#[cfg(test)]
mod lives_tests;
#[cfg(test)]
mod naming_tests;
#[cfg(test)]
mod pruned_tests;
#[cfg(test)]
mod signer_tests;
#[cfg(test)]
mod stale_tests;
#[cfg(test)]
mod tests;
