//! What can be said about an item by looking at it alone, with its signer's key.

use lockstep_events::{
    BlobHash, DeviceId, EntryId, Hex, Seq, VersionId,
    canonical::sha256,
    header::{HeaderError, VersionKind, verify_version},
    log::MAX_INLINE_CONTENT,
};

use super::{Item, Push, Refusal, Rule};
use crate::{commands::turn_vault_key::MAX_GENERATIONS, members::Device};

/// A wrapped content key has so many hexadecimal digits: the generation of the vault's key and the box.
const WRAPPED_KEY: usize = 2 * (4 + 104);

/// A version has at most so many attachments.
const MAX_ATTACHMENTS: usize = 32;

/// An item that was looked at.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Its index in the push.
    pub index: usize,
    /// Its id, recomputed.
    pub version: VersionId,
    /// Its entry.
    pub entry: EntryId,
    /// Its kind.
    pub kind: VersionKind,
    /// What it builds on: of its header, or inferred.
    pub parents: Vec<VersionId>,
    /// The version whose content it keeps.
    pub content_of: Option<VersionId>,
    /// Hash and length of its ciphertext, if its kind has one.
    pub content: Option<(BlobHash, u32)>,
    /// Whether the ciphertext came along.
    pub inline: bool,
    /// Its attachments.
    pub attachments: Vec<BlobHash>,
    /// Its expectation, ascending.
    pub expect_heads: Option<Vec<VersionId>>,
    /// Its parents were inferred.
    pub inferred: bool,
    /// It may come without its ciphertext, if it is not a head.
    pub reoffer: bool,
    /// The index of an earlier item with the same id.
    pub first: Option<usize>,
    /// Where the account's stream spoke last of its signer, when the signature was checked.
    pub vouched: Seq,
    /// Why it cannot be accepted whatever stands in the log.
    pub refusal: Option<Refusal>,
}

impl Ready {
    /// Looks at an item, without its signature.
    pub(super) fn new(index: usize, item: &Item, push: &Push) -> Self {
        let header = &item.header;
        let expect_heads = item.expect_heads.clone().map(|mut heads| {
            heads.sort_unstable();
            heads.dedup();
            heads
        });
        Self {
            index,
            version: header.version_id(),
            entry: header.entry,
            kind: header.kind,
            parents: header.parents.clone(),
            content_of: header.content_of,
            content: header.content_hash.map(|hash| (hash, header.content_len)),
            inline: item.content.is_some(),
            attachments: item.attachments.clone(),
            expect_heads,
            inferred: item.infer_parents,
            reoffer: push.reoffer,
            first: None,
            vouched: Seq::ZERO,
            refusal: refusal(item, push),
        }
    }

    /// Another device stands in for an author that was revoked, and for nobody else.
    pub(super) fn stands_in(&mut self, author: Option<Device>) {
        if !author.is_some_and(|author| author.revoked) {
            let why = "the author did not sign, and is no device that was revoked";
            self.refusal = Some(Refusal::forbidden(Rule::Signer, why));
        }
    }

    /// Checks the signature by what is known of its signer.
    pub(super) fn verify(&mut self, item: &Item, signer: Option<Device>) {
        self.refusal = match signer {
            None => Some(Refusal::forbidden(Rule::Signer, "the signer is not a device of the account")),
            Some(device) if device.revoked => {
                Some(Refusal::forbidden(Rule::Signer, "the signer was revoked"))
            }
            Some(device) if !verify_version(&device.public_key, &self.version, &item.signature) => {
                let why = "the signature is not the signer's over this header's id";
                Some(Refusal::forbidden(Rule::Signature, why))
            }
            Some(device) => {
                self.vouched = device.stated;
                None
            }
        };
    }
}

fn refusal(item: &Item, push: &Push) -> Option<Refusal> {
    if let Err(error) = item.header.validate() {
        let rule = if error == HeaderError::TooManyParents { Rule::Parents } else { Rule::Header };
        return Some(Refusal::forbidden(rule, &error.to_string()));
    }
    let unfit = place(item, push)
        .or_else(|| inferred(item))
        .or_else(|| signer(item, push).map(|why| (Rule::Signer, why)))
        .or_else(|| key(item).map(|why| (Rule::WrappedKey, why)))
        .or_else(|| attachments(item).map(|why| (Rule::Attachments, why)));
    unfit.map(|(rule, why)| Refusal::forbidden(rule, why)).or_else(|| content(item))
}

fn place(item: &Item, push: &Push) -> Option<(Rule, &'static str)> {
    let header = &item.header;
    if header.account != push.account {
        return Some((Rule::Account, "the header names another account"));
    }
    if header.vault != push.vault {
        return Some((Rule::Vault, "the header names another vault"));
    }
    (header.entry == EntryId::NIL).then_some((Rule::Header, "the header names no entry"))
}

fn inferred(item: &Item) -> Option<(Rule, &'static str)> {
    let header = &item.header;
    let why = if !item.infer_parents {
        return None;
    } else if header.kind != VersionKind::Edit || !header.parents.is_empty() {
        "parents are inferred only for an edit that names none"
    } else if header.observed_seq != Seq::ZERO {
        // Whoever has seen the vault knows its versions: nobody else says what they build on.
        "parents are inferred only for an author who names nothing that it has seen"
    } else {
        return None;
    };
    Some((Rule::InferredParents, why))
}

impl Item {
    /// The author, where another device signed what it wrote: after a restore the devices give back what the server lost,
    /// and one that was revoked since can sign nothing any more.
    pub(super) fn stands_in_for(&self) -> Option<DeviceId> {
        let author = self.header.author_device;
        (author != DeviceId::NIL && author != self.signer).then_some(author)
    }
}

fn signer(item: &Item, push: &Push) -> Option<&'static str> {
    if item.stands_in_for().is_some() && !(push.reoffer && item.signer == push.device) {
        return Some("the author did not sign");
    }
    (item.signer != push.device && !push.reoffer)
        .then_some("another device signed, and this is not a re-offer")
}

fn key(item: &Item) -> Option<&'static str> {
    match &item.wrapped_key {
        None => item.header.kind.has_content().then_some("the wrapped content key is missing"),
        Some(_) if !item.header.kind.has_content() => Some("a version without content has no wrapped key"),
        Some(key) => {
            (!is_wrapped(key)).then_some(
                "the wrapped key is not a generation from 1 to 1024 in 4 bytes and a box of 104, in lower-case hexadecimal",
            )
        }
    }
}

/// Whether this can be a wrapped key at all. What cannot would stand in the log for ever, and each device of the account
/// would stop there as at a lie of the server's.
fn is_wrapped(key: &str) -> bool {
    let generation = key.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    Hex::fits(key)
        && key.len() == WRAPPED_KEY
        && generation.is_some_and(|generation| (1..=MAX_GENERATIONS).contains(&generation))
}

fn attachments(item: &Item) -> Option<&'static str> {
    if !item.attachments.is_empty() && !item.header.kind.has_content() {
        return Some("a version without content has no attachments");
    }
    (item.attachments.len() > MAX_ATTACHMENTS).then_some("a version has at most 32 attachments")
}

fn content(item: &Item) -> Option<Refusal> {
    let bytes = item.content.as_ref()?;
    let Some(hash) = item.header.content_hash else {
        return Some(Refusal::forbidden(Rule::Content, "a version without content came with one"));
    };
    if bytes.len() > MAX_INLINE_CONTENT {
        let why = "an inline ciphertext is at most 16384 bytes: upload it as a blob";
        return Some(Refusal::forbidden(Rule::Content, why));
    }
    let holds = u32::try_from(bytes.len()) == Ok(item.header.content_len) && BlobHash(sha256(bytes)) == hash;
    (!holds).then_some(Refusal::HashMismatch)
}
