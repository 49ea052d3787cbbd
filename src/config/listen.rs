//! Where to listen.

use std::{fmt, io, net::SocketAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// An address and a port, or a name of this machine and a port. A name is looked up when somebody listens there, and not
/// before: most commands do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// As it is.
    Address(SocketAddr),
    /// Whatever address it has.
    Name(String, u16),
}

impl Listen {
    /// The address or the name, without the port.
    pub fn host(&self) -> String {
        match self {
            Self::Address(address) => address.ip().to_string(),
            Self::Name(name, _) => name.clone(),
        }
    }

    /// The port; 0 is any that is free.
    pub fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Name(_, port) => *port,
        }
    }

    /// Its addresses, in the order in which the system prefers them.
    ///
    /// # Errors
    /// If it is a name that has none.
    pub async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Address(address) => Ok(vec![*address]),
            Self::Name(name, port) => {
                tokio::net::lookup_host((name.as_str(), *port)).await.map(Iterator::collect)
            }
        }
    }

    /// How it is reached where it is listened at this address of it: by its name, if it was given one.
    pub fn at(&self, bound: SocketAddr) -> String {
        match self {
            Self::Address(_) => bound.to_string(),
            Self::Name(name, _) => format!("{name}:{}", bound.port()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let is_name = |name: &str| {
            !name.is_empty()
                && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._".contains(letter))
        };
        let named = text.rsplit_once(':').filter(|(name, _)| is_name(name));
        let named = named.and_then(|(name, port)| Some(Self::Name(name.to_owned(), port.parse().ok()?)));
        named.ok_or(
            "an address, or a name of this machine, and a port are needed (127.0.0.1:8443, localhost:8443)",
        )
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl TryFrom<String> for Listen {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_name_is_written_with_its_port_and_reads_back_as_it_was() {
        for right in ["127.0.0.1:8443", "[::1]:0", "localhost:0", "node-1.example.org:65535"] {
            assert_eq!(right.parse::<Listen>().unwrap().to_string(), right);
        }
        for wrong in
            ["localhost", ":8443", "localhost:", "localhost:65536", "::1", "a b:1", "https://x:1", ""]
        {
            assert!(wrong.parse::<Listen>().unwrap_err().contains("localhost:8443"), "{wrong}");
        }
    }
}
