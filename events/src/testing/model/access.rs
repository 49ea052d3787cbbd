//! Who may speak with the server: tokens that run out and are renewed, devices that are revoked, devices that join.
//!
//! Beside the invariants of sync.md §10 these must hold:
//! - **A1** what a revoked device pushes, however long it was on its way, changes nothing;
//! - **A2** what comes under a token that has run out changes nothing;
//! - **A3** nothing but a revocation ends a session: a renewal whose answer was lost is answered again, with the same
//!   token;
//! - **A4** a revocation takes nothing away: a device that joins afterwards shows what the server does, what the revoked
//!   device pushed before with it.
//!
//! The roster is no part of what a restore takes back: devices give it back before anything else.

use super::{
    check,
    device::Device,
    fault::{Fault, Held, hold},
    random::Random,
    server::Server,
    universe::device_id,
    world::World,
};

/// Devices of one run, those that joined in the middle of it with them.
const MOST_DEVICES: usize = 10;

/// What the server knows of one device's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The number of the newest token that it gave out.
    pub newest: u64,
    /// Tokens up to this number have run out.
    pub ran_out: u64,
    /// Ended by a renewal that was not believed.
    pub ended: bool,
    /// Where the stream stood when the device was revoked: epoch and head.
    pub revoked: Option<(u64, u64)>,
}

impl Default for Session {
    fn default() -> Self {
        Self { newest: 1, ran_out: 0, ended: false, revoked: None }
    }
}

/// What a request meets before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// It is let in.
    Open,
    /// Its token has run out: renew it.
    RanOut,
    /// The device was revoked.
    Revoked,
}

impl Server {
    /// How a request with a token is met.
    pub fn door(&self, device: usize, token: u64) -> Door {
        let session = &self.sessions[device];
        if session.revoked.is_some() && self.fault != Some(Fault::TakesFromRevoked) {
            Door::Revoked
        } else if token <= session.ran_out && self.fault != Some(Fault::TakesEndedToken) {
            Door::RanOut
        } else {
            Door::Open
        }
    }

    /// The token after one that a device holds. One that was used already had its answer lost: the same again.
    fn renew(&mut self, device: usize, token: u64) -> Option<u64> {
        let retried = self.fault == Some(Fault::RetriedRenewalEndsSession);
        let session = &mut self.sessions[device];
        if session.revoked.is_some() || session.ended {
            return None;
        }
        if token == session.newest {
            session.newest += 1;
        } else if token + 1 != session.newest || retried {
            session.ended = true;
            return None;
        }
        Some(session.newest)
    }
}

impl World {
    /// Whether a device is let in, after a renewal if it needs one, over a network that may lose it.
    ///
    /// # Errors
    /// If A3 does not hold.
    pub fn enters(&mut self, device: usize, dice: &mut Random) -> Result<bool, super::Violation> {
        if self.devices[device].revoked {
            return Ok(false);
        }
        if self.server.door(device, self.devices[device].token) == Door::RanOut {
            self.renew(device, dice)?;
        }
        let door = self.server.door(device, self.devices[device].token);
        if door == Door::Revoked {
            self.devices[device].is_told_that_it_is_revoked();
        }
        Ok(door == Door::Open)
    }

    /// A device renews its token. The request, its answer, or the device before it has kept that, may be lost.
    ///
    /// # Errors
    /// If A3 does not hold.
    pub fn renew(&mut self, device: usize, dice: &mut Random) -> Held {
        if dice.percent(self.loss) {
            return Ok(());
        }
        let next = self.server.renew(device, self.devices[device].token);
        let session = &self.server.sessions[device];
        hold("A3", !session.ended, || format!("the session of device {device} ended by a renewal"))?;
        match next {
            Some(_) if dice.percent(self.loss) => {}
            Some(next) => self.devices[device].token = next,
            None => self.devices[device].is_told_that_it_is_revoked(),
        }
        Ok(())
    }

    /// A device of the account revokes another one; at most half of them go.
    ///
    /// # Errors
    /// If A3 does not hold.
    pub fn revoke_some(&mut self, device: usize, dice: &mut Random) -> Held {
        if !self.devices[device].online || !self.enters(device, dice)? {
            return Ok(());
        }
        let gone = |device: &usize| self.server.sessions[*device].revoked.is_some();
        let others: Vec<usize> = (0..self.devices.len()).filter(|d| *d != device && !gone(d)).collect();
        let stay = others.len() * 2 >= self.devices.len();
        if stay && !others.is_empty() {
            self.revoke(others[dice.below(others.len())]);
        }
        Ok(())
    }

    /// From here on a device is no device of the account.
    pub fn revoke(&mut self, device: usize) {
        let place = (self.server.epoch, self.server.head());
        self.server.sessions[device].revoked = Some(place);
    }

    /// A new device logs in and reads everything before it shows anything.
    ///
    /// # Errors
    /// If A4 does not hold, or any other invariant.
    pub fn join(&mut self) -> Held {
        let number = self.devices.len();
        if number == MOST_DEVICES {
            return Ok(());
        }
        let mut new = Device::new(number, self.server.entries.len(), self.fault);
        if self.fault == Some(Fault::JoinerDistrustsRevoked) {
            let gone = |(number, session): (usize, &Session)| session.revoked.map(|_| device_id(number));
            new.distrusts = self.server.sessions.iter().enumerate().filter_map(gone).collect();
        }
        self.devices.push(new);
        self.server.sessions.push(Session::default());
        self.catch_up(number)?;
        check::joined(&self.server, &self.universe, &self.devices[number])
    }
}
