//! The server's address, and why its certificate is trusted.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// SHA-256 of a certificate's DER bytes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = Error;
    /// 64 hexadecimal digits; colons and spaces between them, upper case and a leading `sha256:` are allowed.
    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.trim().to_ascii_lowercase();
        let digits: String = digits
            .strip_prefix("sha256:")
            .unwrap_or(&digits)
            .chars()
            .filter(|c| !matches!(c, ':' | ' '))
            .collect();
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes)
            .map_err(|_| Error::Invalid("a certificate fingerprint is 64 hexadecimal digits"))?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

/// Why a server's certificate is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The authorities of the operating system vouch for it.
    System,
    /// It is exactly this certificate.
    Pinned(Fingerprint),
    /// These authorities, as PEM text, vouch for it.
    Authorities(String),
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// `https://host[:port]`, without a path.
    pub url: String,
    /// Why its certificate is trusted.
    pub trust: Trust,
}

impl Server {
    /// A server by its address.
    ///
    /// # Errors
    /// [`Error::Address`] for anything but `https://host[:port]`: there is no plain HTTP.
    pub fn new(url: &str, trust: Trust) -> Result<Self, Error> {
        let bad = || Error::Address(url.to_owned());
        let parsed = reqwest::Url::parse(url.trim()).map_err(|_| bad())?;
        let plain = parsed.path() == "/" && parsed.query().is_none() && parsed.fragment().is_none();
        if parsed.scheme() != "https"
            || parsed.host_str().is_none()
            || !plain
            || !parsed.username().is_empty()
        {
            return Err(bad());
        }
        Ok(Self { url: parsed.as_str().trim_end_matches('/').to_owned(), trust })
    }
}

/// The fingerprint of the certificate that a server shows now, for a person to compare. Trusts nothing.
///
/// # Errors
/// [`Error::Offline`] if there is no TLS server at the address.
pub async fn certificate_fingerprint(url: &str) -> Result<Fingerprint, Error> {
    crate::transport::probe(&Server::new(url, Trust::System)?.url).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_without_path_or_user_is_an_address() {
        let ok = |url| Server::new(url, Trust::System).map(|server| server.url);
        assert_eq!(ok("https://127.0.0.1:8443/").unwrap(), "https://127.0.0.1:8443");
        for bad in [
            "http://example.org",
            "example.org",
            "https://u@example.org",
            "https://example.org/x",
            "https://e?x",
        ] {
            assert!(ok(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_is_read_in_the_forms_that_people_paste() {
        let plain: Fingerprint = "ab".repeat(32).parse().unwrap();
        let colons = format!("SHA256:{}", vec!["AB"; 32].join(":"));
        assert_eq!(colons.parse::<Fingerprint>().unwrap(), plain);
        assert!("ab".parse::<Fingerprint>().is_err());
    }
}
