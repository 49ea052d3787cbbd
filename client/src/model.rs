//! What the library hands to a user interface.

use lockstep_events::{
    AccountId, BlobHash, DeviceId, EntryId, Epoch, Micros, Seq, StreamId, VaultId, VersionId, VersionKind,
};
use serde::{Deserialize, Serialize};

use crate::crypto::wipe::Plaintext;

/// Something that must not happen with an honest server. Kept in the local database until a person has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// Number in this profile.
    pub id: i64,
    /// What it is.
    pub kind: AlarmKind,
    /// When it was raised.
    pub at: Micros,
    /// Ids and places; never content or keys.
    pub detail: String,
    /// Whether a person has seen it.
    pub seen: bool,
    /// The version that it is about, where a device of the account did sign it and a person can set it aside.
    pub about: Option<About>,
    /// Whether a person has: then exactly this stops nothing any more.
    pub set_aside: bool,
}

/// A version that is authentic, and wrong: its author's app may be wrong, or the server showed it something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The version.
    pub version: VersionId,
    /// Its vault.
    pub vault: VaultId,
    /// Its entry.
    pub entry: EntryId,
    /// The device that signed it.
    pub device: DeviceId,
}

macro_rules! alarm_kinds {
    ($($(#[$doc:meta])* $name:ident = $stored:literal, $sentence:literal;)+) => {
        /// What an alarm is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum AlarmKind {
            $($(#[$doc])* #[serde(rename = $stored)] $name,)+
        }

        impl AlarmKind {
            /// The stored name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $stored,)+ }
            }

            /// From the stored name.
            pub fn from_stored(stored: &str) -> Option<Self> {
                match stored { $($stored => Some(Self::$name),)+ _ => None }
            }
        }

        impl std::fmt::Display for AlarmKind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$name => $sentence,)+ })
            }
        }
    };
}

alarm_kinds! {
    /// An event's chain does not follow from the one before.
    Chain = "chain", "the server's history does not follow from what this device has seen";
    /// A version's author saw another history of the vault than this device.
    ObservedChain = "observed_chain", "another device was shown another history of this vault";
    /// A header, id or place of a version is not what it must be.
    Header = "header", "a version's header is not valid";
    /// A version is not signed by a device of the account.
    Signature = "signature", "a version is not signed by a device of this account";
    /// A version was signed by a device after its revocation.
    RevokedDevice = "revoked_device", "a version was signed by a device that was revoked before";
    /// A ciphertext does not have the hash of its header.
    ContentHash = "content_hash", "a ciphertext is not the one that its header names";
    /// A content or its key does not open in its place.
    Content = "content", "a content does not open in its place";
    /// A roster statement does not follow, or the roster is shorter than it was.
    Roster = "roster", "the list of the account's devices is not authentic";
    /// The account signing key or a wrapped key is not the account's.
    Keys = "keys", "the account's keys on the server are not authentic";
    /// The stream has begun another life: the server was restored, or says so.
    Reset = "reset", "the server has begun a new life of this stream (a restore)";
    /// The server's OPAQUE key is not the one of registration.
    ServerKey = "server_key", "the server's login key has changed";
    /// The versions on this device are not those that the server has.
    SetDigest = "set_digest", "the versions on this device and on the server are not the same";
    /// A page or frame is not what was asked for.
    Page = "page", "the server sent a page that was not asked for";
}

impl AlarmKind {
    /// Whether nothing is sent until a person has seen it. A restore of the server and a version that it withholds are
    /// answered by offering again what is here; every other alarm says that what the server shows is not what happened.
    pub const fn holds_sending(self) -> bool {
        !matches!(self, Self::Reset | Self::SetDigest)
    }
}

/// How fresh this device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// News come as they are committed. Where there are more vaults than one socket follows, those of the others come a
    /// little later.
    Live,
    /// The socket cannot be had; news come by long-poll.
    Polling,
    /// The server cannot be reached, or is not trusted: what is shown may be old.
    Stale,
}

/// Something that happened, for `watch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A version came in, from this device's push or another's.
    Version {
        /// The vault.
        vault: VaultId,
        /// The entry.
        entry: EntryId,
        /// The version.
        version: VersionId,
        /// What it does.
        kind: VersionKind,
        /// The device that signed it.
        device: DeviceId,
        /// Where it stands.
        seq: Seq,
        /// Whether the entry has open branches now.
        divergent: bool,
    },
    /// An entry was erased.
    Purged {
        /// The entry.
        entry: EntryId,
    },
    /// A device was added or revoked.
    Device {
        /// The device.
        device: DeviceId,
        /// Whether it was revoked.
        revoked: bool,
    },
    /// A session was opened, refreshed or ended, or another account event.
    Account {
        /// Stored name of the event.
        kind: String,
        /// Which credential or kind of factor was set, or how a session proved itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        what: Option<String>,
        /// The device that did it, if one did.
        device: Option<DeviceId>,
        /// When the server recorded it.
        at: Micros,
    },
    /// The link changed.
    Link {
        /// What it is now.
        link: Link,
    },
    /// A version was refused for good and is in quarantine.
    Quarantined {
        /// The version.
        version: VersionId,
        /// The server's reason.
        reason: String,
    },
    /// An alarm was raised.
    Alarm(Alarm),
}

/// Where the content of a version is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The kind has none (`tombstone`).
    None,
    /// Here.
    Here(Plaintext),
    /// On the server, not here yet.
    Missing,
    /// Nowhere: pruned by the retention rule.
    Gone,
    /// Here, but it does not open; an alarm was kept.
    Rejected,
}

impl Content {
    /// The plaintext, if it is here.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Here(plaintext) => Some(plaintext),
            _ => None,
        }
    }
}

/// A version as this device holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionView {
    /// The version.
    pub version: VersionId,
    /// What it does.
    pub kind: VersionKind,
    /// What it builds on.
    pub parents: Vec<VersionId>,
    /// For `adopt`: the version whose content it keeps.
    pub content_of: Option<VersionId>,
    /// Its branch, where it is a head.
    pub branch: Option<u32>,
    /// The device that wrote it; of a kind that has no author (`adopt`, `tombstone`) the one that signed it.
    pub device: DeviceId,
    /// The device that signed it, where another one wrote it: it gave it back after a restore.
    pub given_back_by: Option<DeviceId>,
    /// The author's clock, milliseconds since 1970; 0 for `adopt` and `tombstone`.
    pub client_time: i64,
    /// Where it stands in the vault's stream; none while it waits in the outbox.
    pub seq: Option<Seq>,
    /// When the server accepted it.
    pub accepted_at: Option<Micros>,
    /// The content (of `adopt`: the adopted one).
    pub content: Content,
}

/// An entry with its open branches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The entry.
    pub entry: EntryId,
    /// The vault.
    pub vault: VaultId,
    /// Heads, the one to be shown first: the pinned one, else live before tombstone, then lowest branch.
    pub heads: Vec<VersionView>,
    /// Two or more heads, at least one live: a person must resolve it.
    pub divergent: bool,
    /// No head is live.
    pub deleted: bool,
    /// Something of it waits in the outbox.
    pub pending: bool,
}

impl Entry {
    /// The head that is shown meanwhile.
    pub fn winner(&self) -> Option<&VersionView> {
        self.heads.first()
    }

    /// The ids of all heads: what an edit, a resolution or a tombstone builds on.
    pub fn head_ids(&self) -> Vec<VersionId> {
        self.heads.iter().map(|head| head.version).collect()
    }
}

/// A divergent entry with what a three-way comparison needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The entry with all its heads.
    pub entry: Entry,
    /// The nearest common ancestors of the heads; usually one.
    pub ancestors: Vec<VersionView>,
}

/// How a conflict is resolved.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// One head stays.
    Keep(VersionId),
    /// A content made by hand replaces all heads.
    Merge(Plaintext),
    /// One head stays; the contents of the others become new entries, in one atomic group.
    KeepBoth(VersionId),
}

/// What a round of sync did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SyncReport {
    /// Events applied.
    pub pulled: u64,
    /// Versions that the server accepted or had.
    pub pushed: u64,
    /// Versions that opened a branch.
    pub forked: u64,
    /// Versions refused for good.
    pub quarantined: u64,
    /// Versions that wait still.
    pub waiting: u64,
    /// Those of them that are offered again after a restore of the server, and wait for a file that another device has.
    pub fileless: u64,
    /// Divergent entries now.
    pub conflicts: u64,
    /// For what the plan has no room, of what waits.
    pub no_room: Option<NoRoom>,
}

/// The plan has no room for something that waits. It is sent when there is: with another plan, or when something is
/// deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoRoom {
    /// Which limit: `entries`, `storage_bytes`.
    pub what: String,
    /// The limit.
    pub limit: u64,
    /// What was used already.
    pub used: u64,
    /// When it was last tried.
    pub at: Micros,
}

/// A stream's place on this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamPlace {
    /// The stream.
    pub stream: StreamId,
    /// Its life.
    pub epoch: Epoch,
    /// The last seq applied.
    pub seq: Seq,
}

/// The state of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The account.
    pub account: AccountId,
    /// This device.
    pub device: DeviceId,
    /// The vault.
    pub vault: VaultId,
    /// The generation of its key that new versions are sealed under.
    pub key_generation: u32,
    /// The server's address.
    pub server: String,
    /// The name it was registered or logged in with.
    pub name: String,
    /// The account fingerprint, lower-case hex.
    pub fingerprint: String,
    /// Whether there is a session to sync with.
    pub logged_in: bool,
    /// When and why the last session ended, if there is no other one and the server told.
    pub ended: Option<lockstep_api::account::SessionEnd>,
    /// When the account is going to be erased, if that was asked for and not called off.
    pub erasure_due_at: Option<Micros>,
    /// How far the streams are applied.
    pub streams: Vec<StreamPlace>,
    /// Entries that are not deleted.
    pub entries: u64,
    /// Divergent entries.
    pub conflicts: u64,
    /// Versions that wait to be sent.
    pub waiting: u64,
    /// For what the plan has no room, of what waits.
    pub no_room: Option<NoRoom>,
    /// Versions refused for good.
    pub quarantined: u64,
    /// Alarms that nobody has seen yet.
    pub alarms: u64,
    /// Why nothing is sent: one of them, until a person has seen it.
    pub held: Option<AlarmKind>,
}

/// A vault of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vault {
    /// The vault.
    pub vault: VaultId,
    /// What it is called; nothing if it was never named, is not read yet, or was deleted.
    pub name: Option<String>,
    /// What else it is called, where devices named it apart.
    pub also: Vec<String>,
    /// Devices named it apart, or one deleted it and another named it: until it is named anew, or deleted.
    pub divergent: bool,
    /// It was deleted.
    pub deleted: bool,
    /// What it was called before, as far as this device holds that.
    pub was: Option<String>,
    /// Entries of a deleted vault that are not deleted: other devices wrote them meanwhile, or later.
    pub left: u64,
    /// The generation of its key.
    pub key_generation: u32,
    /// Whether a device was removed and the key has not been turned since: the next sync does it.
    pub due: bool,
    /// Whether it is the one that this profile works with.
    pub current: bool,
}

/// A version that the server refused for good. It stays here until a person decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// The version.
    pub version: VersionId,
    /// Its entry.
    pub entry: EntryId,
    /// The server's reason.
    pub reason: String,
    /// When.
    pub at: Micros,
}

/// A ciphertext that is not here yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Its hash.
    pub hash: BlobHash,
    /// Its length in bytes.
    pub len: u32,
}
