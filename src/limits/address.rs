//! Where a request comes from: the address at the other end, or what a trusted proxy says about it.

use std::net::{IpAddr, Ipv6Addr};

/// A network of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    first: u128,
    bits: u32,
}

/// The proxies whose word about their clients is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Network>);

/// IPv4 addresses stand at `::ffff:0:0/96`, so that both kinds are one.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(four) => u128::from(four.to_ipv6_mapped()),
        IpAddr::V6(six) => u128::from(six),
    }
}

/// The network of so many bits around an address.
fn network(address: u128, bits: u32) -> u128 {
    address & u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

impl Proxies {
    /// Reads a list of addresses and networks (`10.0.0.0/8`), separated by commas.
    pub fn parse(text: &str) -> Option<Self> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(one).collect::<Option<_>>().map(Self)
    }

    /// Whether an address is a proxy's.
    pub fn has(&self, address: IpAddr) -> bool {
        let number = number(address);
        self.0.iter().any(|known| network(number, known.bits) == known.first)
    }

    /// The client of a connection from `peer`, whose request says that it was forwarded for `forwarded` (the values of
    /// several headers, the last first): the last address in it that no trusted proxy has. What stands further left is whatever
    /// the client wrote: bytes of any kind, which say nothing about what a proxy put behind them.
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl Iterator<Item = &'a [u8]>) -> IpAddr {
        let mut client = peer;
        let mut hops = forwarded.flat_map(|value| value.rsplit(|byte| *byte == b','));
        while self.has(client) {
            let hop = hops.next().and_then(|hop| str::from_utf8(hop.trim_ascii()).ok());
            let Some(next) = hop.and_then(|hop| hop.parse().ok()) else { break };
            client = next;
        }
        client
    }
}

fn one(word: &str) -> Option<Network> {
    let (address, bits) = match word.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
        None => (word, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let (most, before) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
    let bits = before + bits.or(Some(most)).filter(|bits| *bits <= most)?;
    Some(Network { first: network(number(address), bits), bits })
}

/// As a number, what counts as one address.
pub fn place(address: IpAddr) -> u128 {
    places(address).0
}

/// What counts as one address: all of an IPv4 address, or an IPv6 network of 64 bits; and around the latter one of 48.
pub fn places(address: IpAddr) -> (u128, Option<u128>) {
    let number = number(address);
    match address {
        IpAddr::V4(_) => (number, None),
        IpAddr::V6(six) if six.to_ipv4_mapped().is_some() => (number, None),
        IpAddr::V6(_) => (network(number, 64), Some(network(number, 48))),
    }
}

/// As it may stand in a log: without the last 8 bits of an IPv4 address, with 48 bits of an IPv6 address.
pub fn truncated(address: IpAddr) -> IpAddr {
    let number = number(address);
    match address {
        IpAddr::V4(_) => Ipv6Addr::from(network(number, 120)).to_canonical(),
        IpAddr::V6(six) if six.to_ipv4_mapped().is_some() => {
            Ipv6Addr::from(network(number, 120)).to_canonical()
        }
        IpAddr::V6(_) => Ipv6Addr::from(network(number, 48)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client(proxies: &str, peer: &str, headers: &[impl AsRef<[u8]>]) -> IpAddr {
        // As the server calls it: the headers last first.
        Proxies::parse(proxies).unwrap().client(ip(peer), headers.iter().rev().map(AsRef::as_ref))
    }

    #[test]
    fn what_a_stranger_says_about_itself_is_ignored() {
        assert_eq!(client("", "203.0.113.9", &["198.51.100.1"]), ip("203.0.113.9"));
        assert_eq!(client("10.0.0.0/8", "203.0.113.9", &["198.51.100.1"]), ip("203.0.113.9"));
    }

    #[test]
    fn behind_trusted_proxies_the_nearest_stranger_is_the_client_whatever_it_wrote_itself() {
        let seen = "1.1.1.1, 198.51.100.1, 10.0.0.2";
        assert_eq!(client("10.0.0.0/8", "10.0.0.3", &[seen]), ip("198.51.100.1"));
        assert_eq!(client("10.0.0.3", "10.0.0.3", &[seen]), ip("10.0.0.2"));
        assert_eq!(client("10.0.0.0/8", "10.0.0.3", &["1.1.1.1", "198.51.100.1"]), ip("198.51.100.1"));
        assert_eq!(client("fd00::/8", "fd00::1", &["2001:db8::7"]), ip("2001:db8::7"));
        assert_eq!(client("10.0.0.0/8", "::ffff:10.0.0.3", &["198.51.100.1"]), ip("198.51.100.1"));
    }

    #[test]
    fn bytes_of_any_kind_hide_nobody_behind_the_proxy_that_writes_after_them() {
        for junk in [&b"\xff"[..], b"\x80, \xc3(", b"1.1.1.1,\xe4", b"\xff\xfe,,"] {
            let line = [junk, b", 203.0.113.7"].concat();
            assert_eq!(client("10.0.0.0/8", "10.0.0.3", &[&line]), ip("203.0.113.7"), "{line:?}");
            assert_eq!(client("10.0.0.0/8", "10.0.0.3", &[junk, b"203.0.113.7"]), ip("203.0.113.7"));
        }
        assert_eq!(client("10.0.0.0/8", "10.0.0.3", &[&b"203.0.113.7, \xff"[..]]), ip("10.0.0.3"));
    }

    #[test]
    fn without_a_usable_word_the_proxy_itself_is_the_client() {
        for word in ["", "unknown", "198.51.100.1:80, x", "10.0.0.7"] {
            let seen = client("10.0.0.0/8", "10.0.0.3", &[word]);
            assert!(number(seen) >> 24 == number(ip("10.0.0.3")) >> 24, "{word}: {seen}");
        }
    }

    #[test]
    fn only_addresses_and_networks_are_a_list_of_proxies() {
        for bad in ["x", "10.0.0.0/x", "10.0.0/8", "10.0.0.0/8/8", "10.0.0.0/33", "fd00::/129"] {
            assert_eq!(Proxies::parse(bad), None, "{bad}");
        }
        assert_eq!(Proxies::parse(" , "), Some(Proxies::default()));
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let (one, around) = places(ip("2001:db8:1:2::3"));
        assert_eq!((one, around), places(ip("2001:db8:1:2:ffff::9")));
        assert_ne!(one, places(ip("2001:db8:1:3::3")).0);
        assert_eq!(around, places(ip("2001:db8:1:3::3")).1);
        assert_ne!(places(ip("192.0.2.1")), places(ip("192.0.2.2")));
        assert_eq!(places(ip("192.0.2.1")), places(ip("::ffff:192.0.2.1")));
    }

    #[test]
    fn a_log_sees_a_network_only() {
        assert_eq!(truncated(ip("192.0.2.77")), ip("192.0.2.0"));
        assert_eq!(truncated(ip("::ffff:192.0.2.77")), ip("192.0.2.0"));
        assert_eq!(truncated(ip("2001:db8:1:2::3")), ip("2001:db8:1::"));
    }
}
