//! Options that are never shown.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};

/// A text that is never shown: a key, or a URL with a password.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "<secret>" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self.0.split_once("://") {
            _ if self.0.is_empty() => "",
            Some((
                scheme
                @ ("postgres" | "postgresql" | "nats" | "tls" | "s3" | "smtp" | "smtps" | "smtp+plain"),
                _,
            )) => scheme,
            _ if matches!(self.0.as_str(), "sqlite" | "in_process" | "filesystem" | "folder") => &self.0,
            _ => "<secret>",
        })
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}
