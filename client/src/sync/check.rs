//! What is checked of everything received, before any of it is applied (C6). Pure.

use lockstep_api::sync::StreamEvent;
use lockstep_events::{
    AccountId, Chain, DeviceId, Header, Micros, Recorded, Seq, VaultId, VersionId,
    canonical::sha256,
    header::verify_version,
    ids::{BlobHash, Signature},
};

use crate::{
    crypto::version::generation_of,
    model::{About, AlarmKind},
    store::{keys::Trusted, streams::Place},
};

/// Why something is not applied: the alarm and its detail (ids and places only).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: AlarmKind,
    pub(crate) detail: String,
    /// The version, where it is one that a device of the account did sign: a person can set this aside.
    pub(crate) about: Option<About>,
}

impl Refusal {
    pub(crate) fn new(kind: AlarmKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), about: None }
    }
}

pub(super) fn refuse<T>(kind: AlarmKind, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(kind, detail))
}

/// The events of a page, each with its chain: gapless after a place, ending in the page's chain.
pub(crate) fn page(
    after: &Place,
    (to, end): (Seq, Chain),
    events: &[StreamEvent],
) -> Result<Vec<Recorded>, Refusal> {
    let (stream, from, mut chain) = ((after.stream, after.kind), after.seq, after.chain);
    let mut next = from.next();
    let mut all = Vec::with_capacity(events.len());
    for event in events {
        if event.seq != next {
            return refuse(AlarmKind::Page, format!("{}: {} where {next} was due", stream.0, event.seq));
        }
        let one = event.recorded(stream, &chain);
        chain = one.chain;
        next = next.next();
        all.push(one);
    }
    if next != to.next() {
        return refuse(AlarmKind::Page, format!("{}: page to {to} ends before {next}", stream.0));
    }
    if chain != end {
        return refuse(AlarmKind::Chain, format!("{} between {from} and {to}", stream.0));
    }
    // No log's clock goes back.
    let mut now = after.recorded_at;
    for event in &all {
        if event.recorded_at <= now {
            return refuse(AlarmKind::Page, format!("{}: {} before its time", stream.0, event.seq));
        }
        now = event.recorded_at;
    }
    Ok(all)
}

/// A version as it came, in an event, a snapshot or a history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) header: &'a Header,
    pub(crate) signer: DeviceId,
    pub(crate) signature: &'a Signature,
    pub(crate) wrapped_key: Option<&'a [u8]>,
    pub(crate) content: Option<&'a [u8]>,
    /// Whether the content may be gone together with its key: of an entry that was purged, outside of the feed.
    pub(crate) may_be_gone: bool,
    pub(crate) attachments: &'a [BlobHash],
    /// Where it stands and since when.
    pub(crate) at: (Seq, Micros),
}

/// What a version is checked against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Against<'a> {
    pub(crate) account: AccountId,
    pub(crate) vault: VaultId,
    pub(crate) trusted: &'a Trusted,
}

impl Against<'_> {
    /// Header, place, signature by a device of the roster, and ciphertext of one version. Gives its id.
    pub(crate) fn version(&self, received: &Received<'_>) -> Result<VersionId, Refusal> {
        let header = received.header;
        let id = header.version_id();
        let at = received.at.0;
        if let Err(broken) = header.validate() {
            return refuse(AlarmKind::Header, format!("{id} at {at}: {broken}"));
        }
        if header.account != self.account || header.vault != self.vault {
            return refuse(AlarmKind::Header, format!("{id} at {at}: of another account or vault"));
        }
        let authored = header.kind.has_content();
        // What a device wrote that was revoked since, another one gives back after a restore, and signs it.
        let author = self.trusted.roster.devices.get(&header.author_device);
        let given_back = author.is_some_and(|author| author.revoked);
        if authored && header.author_device != received.signer && !given_back {
            return refuse(
                AlarmKind::Signature,
                format!("{id} at {at}: signed by another device than its author"),
            );
        }
        self.signature(id, received)?;
        match (authored, received.wrapped_key) {
            // The server takes no other.
            (true, Some(key)) if !matches!(generation_of(key), Ok(1..)) => {
                refuse(AlarmKind::Content, format!("{id} at {at}: not a wrapped key"))
            }
            (true, None) if !received.may_be_gone => {
                refuse(AlarmKind::Content, format!("{id} at {at}: a content without its key"))
            }
            (false, Some(_)) => refuse(AlarmKind::Content, format!("{id} at {at}: a key without a content")),
            (false, None) if !received.attachments.is_empty() => {
                refuse(AlarmKind::Content, format!("{id} at {at}: files without a content"))
            }
            _ => content(id, header, received.content).map(|()| id),
        }
    }

    fn signature(&self, id: VersionId, received: &Received<'_>) -> Result<(), Refusal> {
        let (at, accepted_at) = received.at;
        let signer = received.signer;
        let Some(device) = self.trusted.roster.devices.get(&signer) else {
            return refuse(
                AlarmKind::Signature,
                format!("{id} at {at}: {signer} is no device of this account"),
            );
        };
        if !verify_version(&device.public_key, &id, received.signature) {
            return refuse(AlarmKind::Signature, format!("{id} at {at}: not signed by {signer}"));
        }
        // Before or after the revocation is decided by the order of the log, which `recorded_at` follows.
        let revoked_at = self.trusted.revoked_at.get(&signer);
        if device.revoked && revoked_at.is_some_and(|revoked_at| accepted_at >= *revoked_at) {
            return refuse(AlarmKind::RevokedDevice, format!("{id} at {at}: {signer}"));
        }
        Ok(())
    }
}

/// Whether a ciphertext is the one that a header names.
pub(crate) fn content(id: VersionId, header: &Header, content: Option<&[u8]>) -> Result<(), Refusal> {
    let Some(bytes) = content else { return Ok(()) };
    let named = header.content_hash == Some(BlobHash(sha256(bytes)))
        && usize::try_from(header.content_len).is_ok_and(|len| len == bytes.len());
    if named { Ok(()) } else { refuse(AlarmKind::ContentHash, format!("{id}")) }
}
