//! How many connections an address has open.

use std::net::IpAddr;

use crate::limits::{Proxies, Seat, Seats, place};

/// The addresses that are connected.
#[derive(Debug, Clone)]
pub struct Guests {
    seats: Seats,
    /// Behind these are many.
    proxies: Proxies,
}

/// A connection that counts, until this is dropped.
#[derive(Debug)]
pub struct Guest(#[expect(dead_code, reason = "it counts as long as it is there")] Option<Seat>);

impl Guests {
    /// At most so many for each address but those of proxies, and of this machine.
    pub fn new(most: usize, proxies: Proxies) -> Self {
        Self { seats: Seats::new(most), proxies }
    }

    /// Counts a connection; none if its address has as many as it may.
    pub fn enter(&self, address: IpAddr) -> Option<Guest> {
        if address.to_canonical().is_loopback() || self.proxies.has(address) {
            return Some(Guest(None));
        }
        self.seats.take(place(address)).map(|seat| Guest(Some(seat)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_others_and_proxies_are_not_concerned() {
        let guests = Guests::new(2, Proxies::parse("10.0.0.0/8").unwrap());
        let enter = |address: &str| guests.enter(address.parse().unwrap());
        let mine = [enter("203.0.113.9"), enter("203.0.113.9")];
        assert!(mine.iter().all(Option::is_some));
        assert!(enter("203.0.113.9").is_none() && enter("::ffff:203.0.113.9").is_none());
        assert!(enter("203.0.113.8").is_some() && enter("2001:db8::1").is_some());
        for free in ["10.1.2.3", "127.0.0.1", "::1"] {
            let many: Vec<_> = (0..5).map(|_| enter(free)).collect();
            assert!(many.iter().all(Option::is_some), "{free}");
        }
    }
}
