//! A device's place in a stream, as text: `<epoch>.<seq>`.

use std::{fmt, str::FromStr};

use lockstep_events::{Epoch, Seq};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A cursor: the life of a stream and the last seq that the device has applied. Not a secret.
///
/// It is a claim, and only made of what was served: `epoch` and `to` of a page or a frame, `epoch` and `position` of a
/// snapshot. One ahead of the stream makes the server begin another life of all streams of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The life of the stream.
    pub epoch: Epoch,
    /// The last seq that is applied; 0 for none.
    pub seq: Seq,
}

/// A text that is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: expected <32 hexadecimal digits>.<number>")]
pub struct InvalidCursor;

const DESCRIPTION: &str = "`<epoch>.<seq>`: the life of a stream and the last seq that the device has applied. A claim: \
     it is made of `epoch` and `to` of a page or a frame, or of `epoch` and `position` of a snapshot, and of nothing else. \
     One ahead of the stream makes the server begin another life of all streams of the account.";

impl utoipa::PartialSchema for Cursor {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some(DESCRIPTION))
            .pattern(Some("^[0-9a-f]{32}\\.(0|[1-9][0-9]{0,18})$"))
            .into()
    }
}

impl utoipa::ToSchema for Cursor {}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (epoch, seq) = text.split_once('.').ok_or(InvalidCursor)?;
        let canonical = !seq.is_empty()
            && seq.bytes().all(|b| b.is_ascii_digit())
            && (seq == "0" || !seq.starts_with('0'));
        let seq = seq.parse::<u64>().ok().filter(|n| canonical && i64::try_from(*n).is_ok());
        Ok(Self { epoch: epoch.parse().map_err(|_| InvalidCursor)?, seq: Seq(seq.ok_or(InvalidCursor)?) })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_cursor_survives_its_text(epoch: [u8; 16], seq in 0..=i64::MAX.cast_unsigned()) {
            let cursor = Cursor { epoch: Epoch(epoch), seq: Seq(seq) };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn a_text_that_parses_is_the_only_text_of_its_cursor(text in "[0-9a-f]{30,34}\\.[0-9+ ]{0,20}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
