//! The two texts that the public part of an event may hold: a [`Word`] of our own vocabulary, and [`Hex`] of bytes
//! that we made.
//!
//! Both are checked when they are made and again when they are written. Reading takes what stands: the bytes of the
//! log are committed to by its chain and cannot be unwritten, and one text of an older program must not stop every
//! projection. What was read and does not fit can be looked at, and never goes into another event.

use std::{borrow::Cow, fmt, ops::Deref, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};

/// A text that is no [`Word`] or [`Hex`]. It does not say which text: that could be personal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct Unfit {
    /// The form that it should have.
    pub expected: &'static str,
}

const WORD: Unfit = Unfit {
    expected: "1 to 128 of a-z, 0-9, _ . / - and single spaces between them, which are words of ours",
};
const HEX: Unfit = Unfit { expected: "1 to 512 bytes as lower-case hexadecimal" };

/// A word of our own vocabulary, or a few: `opaque`, `vault/<id>`, `projections rebuild entries`, the name of a plan.
///
/// 1 to [`Word::MAX`] of `a-z`, `0-9`, `_`, `.`, `/`, `-`, and single spaces between them. That keeps out most of what
/// people write; that no person chose it is for whoever makes one to see to. In JSON it is a string.
///
/// A literal is a [`word!`](crate::word!), which is checked by the compiler and allocates nothing:
///
/// ```
/// # use lockstep_events::{Word, word};
/// assert_eq!(word!("opaque"), "opaque");
/// assert_eq!(Word::new("opaque"), Ok(word!("opaque")));
/// assert!(Word::new("zoe@example.org").is_err());
/// ```
///
/// ```compile_fail,E0080
/// # use lockstep_events::word;
/// assert_eq!(word!("Opaque!"), "Opaque!");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Word(Cow<'static, str>);

impl Word {
    /// The longest, in bytes.
    pub const MAX: usize = 128;

    /// A word that is made while the program runs.
    ///
    /// # Errors
    /// [`Unfit`] if the text is not of the form above.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Result<Self, Unfit> {
        let text = text.into();
        if Self::fits(&text) { Ok(Self(text)) } else { Err(WORD) }
    }

    /// What [`word!`](crate::word!) calls.
    ///
    /// # Panics
    /// If the text is not a word. In a constant that is an error of the compiler.
    #[doc(hidden)]
    pub const fn literal(text: &'static str) -> Self {
        assert!(Self::fits(text), "not a word of ours: see `lockstep_events::Word`");
        Self(Cow::Borrowed(text))
    }

    /// Whether a text is of the form above.
    pub const fn fits(text: &str) -> bool {
        let bytes = text.as_bytes();
        let mut at = 0;
        // A space stands between two others: as if one stood before the first.
        let mut after_space = true;
        while at < bytes.len() {
            match bytes[at] {
                b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'/' | b'-' => after_space = false,
                b' ' if !after_space => after_space = true,
                _ => return false,
            }
            at += 1;
        }
        !after_space && bytes.len() <= Self::MAX
    }
}

/// A [`Word`](crate::Word) from a literal, checked by the compiler.
#[macro_export]
macro_rules! word {
    ($text:expr) => {
        const { $crate::Word::literal($text) }
    };
}

/// Bytes that we made, as lower-case hexadecimal: 1 to [`Hex::MAX`] of them. In JSON it is a string.
///
/// It stays a text, because it goes from one text to the next; where the length is fixed, an id or hash of
/// [`ids`](crate::ids) is the better type.
///
/// ```
/// # use lockstep_events::Hex;
/// assert_eq!(Hex::new("0b0c").unwrap(), Hex::of(&[11, 12]).unwrap());
/// assert!(Hex::new("0B0C").is_err() && Hex::new("zoe").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hex(String);

impl Hex {
    /// The most, in bytes: half as many as it has digits.
    pub const MAX: usize = 512;

    /// From its digits.
    ///
    /// # Errors
    /// [`Unfit`] if the text is not of the form above.
    pub fn new(digits: impl Into<String>) -> Result<Self, Unfit> {
        let digits = digits.into();
        if Self::fits(&digits) { Ok(Self(digits)) } else { Err(HEX) }
    }

    /// From the bytes.
    ///
    /// # Errors
    /// [`Unfit`] if there are none, or too many.
    pub fn of(bytes: &[u8]) -> Result<Self, Unfit> {
        Self::new(hex::encode(bytes))
    }

    /// Whether a text is of the form above.
    pub fn fits(digits: &str) -> bool {
        let canonical = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        canonical && digits.len().is_multiple_of(2) && (1..=Self::MAX).contains(&(digits.len() / 2))
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        word.0.into_owned()
    }
}

impl From<Hex> for String {
    fn from(hex: Hex) -> Self {
        hex.0
    }
}

macro_rules! texts {
    ($($name:ident or $unfit:ident;)+) => {$(
        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(&self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Debug::fmt(&**self, f) }
        }
        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool { **self == *other }
        }
        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool { **self == **other }
        }
        impl TryFrom<String> for $name {
            type Error = Unfit;
            fn try_from(text: String) -> Result<Self, Unfit> { Self::new(text) }
        }
        impl FromStr for $name {
            type Err = Unfit;
            fn from_str(text: &str) -> Result<Self, Unfit> { Self::new(text.to_owned()) }
        }
        impl Serialize for $name {
            /// Fails for what was read and does not fit.
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if Self::fits(self) { s.serialize_str(self) } else { Err(S::Error::custom($unfit)) }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            /// Takes any text: the log is read as it stands.
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d).map(|text| Self(text.into()))
            }
        }
    )+};
}
texts! { Word or WORD; Hex or HEX; }

#[cfg(test)]
mod tests {
    use serde_json::{from_str, to_string};

    use super::*;

    #[test]
    fn a_word_is_of_our_letters_and_of_our_length() {
        let longest = "x".repeat(Word::MAX);
        for fit in ["opaque", "vault/0-1_2.3", "projections rebuild entries", "7", &longest] {
            assert_eq!(fit.parse::<Word>().unwrap(), fit);
            assert_eq!(from_str::<Word>(&to_string(&fit.parse::<Word>().unwrap()).unwrap()).unwrap(), fit);
        }
        let long = "x".repeat(Word::MAX + 1);
        for unfit in
            ["", " ", " a", "a ", "a  b", "Paid", "zoë", "zoe@example.org", "a\nb", "a\"b", "a:b", &long]
        {
            assert_eq!(unfit.parse::<Word>(), Err(WORD), "{unfit}");
        }
    }

    #[test]
    fn hex_is_of_whole_bytes_in_lower_case() {
        assert_eq!(Hex::new("00ff").unwrap(), Hex::of(&[0, 255]).unwrap());
        assert!(Hex::of(&[7; Hex::MAX]).is_ok());
        for unfit in ["", "0", "0F", "0g", " 00", &"00".repeat(Hex::MAX + 1)] {
            assert_eq!(unfit.parse::<Hex>(), Err(HEX), "{unfit}");
        }
    }

    #[test]
    fn what_stands_in_an_old_log_is_read_and_never_written_again() {
        let word: Word = from_str("\"Zo\\u00eb's plan\"").unwrap();
        assert_eq!(word, "Zoë's plan");
        let refused = to_string(&word).unwrap_err().to_string();
        assert!(refused.contains("words of ours") && !refused.contains("Zo"), "{refused}");
        assert!(to_string(&from_str::<Hex>("\"0G\"").unwrap()).is_err());
    }
}
