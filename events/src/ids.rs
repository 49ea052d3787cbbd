//! Identifiers and places. Every one is its own type, so that a position cannot be used as a seq.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
    ser::Error as _,
};
use uuid::Uuid;

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: expected {expected}")]
pub struct InvalidId {
    /// The name of the type that was asked for.
    pub what: &'static str,
    /// The form it has.
    pub expected: &'static str,
}

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = Uuid))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The all-zero identifier: stands for "nobody" in fixed-width encodings.
            pub const NIL: Self = Self(Uuid::nil());

            /// The 16 bytes, big-endian, as they stand in canonical encodings.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }
        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self { Self(id) }
        }
        impl From<$name> for Uuid {
            fn from(id: $name) -> Self { id.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| InvalidId { what: stringify!($name), expected: "a UUID" })
            }
        }
    )+};
}

uuid_ids! {
    /// An account: the owner of vaults and devices. Its stream has the same UUID.
    AccountId;
    /// A vault. Its stream has the same UUID.
    VaultId;
    /// An entry inside a vault; the subject of its versions.
    EntryId;
    /// A device enrolled in an account.
    DeviceId;
    /// A session of a device; a family of refresh tokens.
    SessionId;
    /// The identity of an event, made by the caller; recognises a retry for ever.
    EventId;
    /// A stream of the log.
    StreamId;
    /// The entry, device or session inside a stream that an event is about.
    SubjectId;
    /// One batch push as a device made it.
    BatchId;
}

macro_rules! same_uuid {
    ($($from:ident => $to:ident),+) => {$(
        impl From<$from> for $to {
            fn from(id: $from) -> Self { Self(id.0) }
        }
    )+};
}
same_uuid!(AccountId => StreamId, VaultId => StreamId, EntryId => SubjectId, DeviceId => SubjectId,
    SessionId => SubjectId, AccountId => SubjectId, VaultId => SubjectId,
    SubjectId => EntryId, SubjectId => DeviceId, SubjectId => SessionId, StreamId => VaultId, StreamId => AccountId);

impl StreamId {
    /// The one stream for what belongs to no account: signing keys, projections, the log itself.
    pub const SYSTEM: Self = Self(Uuid::from_u128(0x6c6f_636b_7374_8570_8000_7379_7374_656d));
}

/// What a stream is about; stored as a small number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum StreamKind {
    /// Devices, sessions, vaults of one account.
    Account = 1,
    /// Versions of the entries of one vault.
    Vault = 2,
    /// What belongs to no account.
    System = 3,
}

impl StreamKind {
    /// The number in the `stream_kind` column.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The kind behind a stored number.
    pub const fn from_code(code: i16) -> Option<Self> {
        match code {
            1 => Some(Self::Account),
            2 => Some(Self::Vault),
            3 => Some(Self::System),
            _ => None,
        }
    }
}

macro_rules! places {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Before the first event.
            pub const ZERO: Self = Self(0);

            /// The place after this one.
            #[must_use]
            pub const fn next(self) -> Self { Self(self.0 + 1) }

            /// As a database stores it. A number from outside that no place can have becomes the largest.
            pub const fn as_i64(self) -> i64 {
                if self.0 > i64::MAX.cast_unsigned() { i64::MAX } else { self.0.cast_signed() }
            }

            /// From a database column; a negative number, which no writer stores, becomes zero.
            pub const fn from_i64(stored: i64) -> Self {
                Self(if stored < 0 { 0 } else { stored.cast_unsigned() })
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
    )+};
}

places! {
    /// A place in the whole log: 1, 2, 3, … in commit order, without a gap. 0 is "before the first".
    Position;
    /// A place in one stream: 1, 2, 3, … without a gap. 0 is "before the first". A device's cursor.
    Seq;
}

/// Reads a text where it stands, without a copy.
struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err = InvalidId>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! byte_ids {
    ($($(#[$doc:meta])* $name:ident, $len:literal, $pattern:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = $pattern))]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// All zero: stands for "none" in fixed-width encodings.
            pub const ZERO: Self = Self([0; $len]);

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] { &self.0 }

            /// From a database column or a frame, if the length is right.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> { bytes.try_into().ok().map(Self) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; 2 * $len];
                hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let mut bytes = [0; $len];
                let canonical = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                match hex::decode_to_slice(text, &mut bytes) {
                    Ok(()) if canonical => Ok(Self(bytes)),
                    _ => Err(InvalidId {
                        what: stringify!($name),
                        expected: concat!($len, " bytes as lower-case hexadecimal"),
                    }),
                }
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                let mut digits = [0; 2 * $len];
                hex::encode_to_slice(self.0, &mut digits).map_err(S::Error::custom)?;
                s.serialize_str(std::str::from_utf8(&digits).map_err(S::Error::custom)?)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> { d.deserialize_str(Text(PhantomData)) }
        }
    )+};
}

byte_ids! {
    /// Any SHA-256 that has no type of its own.
    Hash32, 32, "^[0-9a-f]{64}$";
    /// SHA-256 of a version's canonical header; the version's name everywhere, for ever.
    VersionId, 32, "^[0-9a-f]{64}$";
    /// SHA-256 of a ciphertext; its address inside one vault.
    BlobHash, 32, "^[0-9a-f]{64}$";
    /// The running hash of a stream at a seq: SHA-256(0x02 ‖ chain before ‖ leaf hash).
    Chain, 32, "^[0-9a-f]{64}$";
    /// What a set of versions is recognised by, whatever their order: the sum mod 2^256 of SHA-256(version id).
    SetDigest, 32, "^[0-9a-f]{64}$";
    /// 128 random bits that name one unbroken life of a stream; renewed by a restore.
    Epoch, 16, "^[0-9a-f]{32}$";
    /// An Ed25519 public key.
    PublicKey, 32, "^[0-9a-f]{64}$";
    /// An Ed25519 signature.
    Signature, 64, "^[0-9a-f]{128}$";
}

impl VersionId {
    /// The identity of this version's event: the first 128 bits as a UUID of version 8.
    pub fn event_id(&self) -> EventId {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[..16]);
        EventId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}
