//! Enrolling a device: the account signing key vouches for it, and its first session opens.

use std::collections::BTreeSet;

use lockstep_events::{
    DeviceId, LogError, Micros, SessionId,
    event::Method,
    log::StreamExpect,
    roster::{Claim, Roster, RosterDevice, Statement},
};
use lockstep_projections::{ReadError, rows::AccountRow};

use super::{
    account,
    facts::Actor,
    refresh::lives,
    roster::{StateError, Stated, follow, state_at, unusable},
    session::{self, Opened},
};
use crate::{feed::Access, quotas::Exceeded, state::Server};

/// Rounds against other changes of the account.
const ROUNDS: usize = 32;
/// An account has at most so many devices, whatever its plan says.
const MAX_DEVICES: u64 = 32;

/// An enrolment.
pub struct EnrolDevice {
    /// Whose token vouches for it: nothing may have ended that.
    pub voucher: Access,
    /// The session that is opened: a retry opens the same.
    pub session: SessionId,
    /// How it was proven who asks.
    pub method: Method,
    /// When: the session is no fresher than the proof, however late it opens.
    pub proven_at: Micros,
    /// `device_added`.
    pub statement: Statement,
}

/// How many devices of an account may be in use at the same time, and which are.
pub struct Places {
    limit: u64,
    /// Those with a session that has not ended nor run out. One that was logged out takes no place: else whoever logs
    /// in and out often enough would be locked out for good.
    taken: BTreeSet<DeviceId>,
}

impl Places {
    /// The places of an account whose devices are all about to be logged out.
    pub fn all_free(server: &Server, row: &AccountRow) -> Self {
        let (_, plan) = server.quotas.plans.of(&row.standing, server.clock.now());
        Self { limit: plan.devices.unwrap_or(MAX_DEVICES).min(MAX_DEVICES), taken: BTreeSet::new() }
    }

    /// The places of an account.
    ///
    /// # Errors
    /// If the read models do not answer.
    pub async fn of(server: &Server, row: &AccountRow) -> Result<Self, ReadError> {
        let since = server.clock.now().plus_seconds(-lives(server).idle);
        let sessions = server.reads.sessions(row.account).await?;
        let open =
            sessions.iter().filter(|session| session.revoked.is_none() && session.refreshed_at > since);
        let taken = open.map(|session| session.device).collect();
        Ok(Self { taken, ..Self::all_free(server, row) })
    }

    /// How many there are, and how many the devices of a roster have.
    pub fn counted(&self, roster: &Roster) -> (u64, u64) {
        let in_use = |(id, device): &(&DeviceId, &RosterDevice)| !device.revoked && self.taken.contains(id);
        (self.limit, roster.devices.iter().filter(in_use).count() as u64)
    }
}

/// What a statement does for its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joins {
    /// The device.
    pub device: DeviceId,
    /// The statement stands already, word for word. It is public: whether it was sent again by who sent it first, the
    /// session says.
    pub again: bool,
}

/// The device that the statement adds to the roster, or has added.
///
/// # Errors
/// [`StateError`]
pub fn decide(
    mut roster: Roster,
    stated: &[Statement],
    next: &Statement,
    places: &Places,
) -> Result<Joins, StateError> {
    let Claim::DeviceAdded { device, .. } = next.claim else {
        return Err(StateError::Invalid("statement: device_added is needed"));
    };
    if stated.contains(next) {
        let stays = roster.devices.get(&device).is_some_and(|device| !device.revoked);
        return if stays { Ok(Joins { device, again: true }) } else { Err(StateError::Overtaken) };
    }
    if let Some(what) = unusable(&next.claim) {
        return Err(StateError::Invalid(what));
    }
    let (limit, used) = places.counted(&roster);
    if used >= limit {
        return Err(StateError::TooManyDevices(Exceeded { what: "devices", limit, used }));
    }
    follow(&mut roster, next)?;
    Ok(Joins { device, again: false })
}

impl EnrolDevice {
    /// Enrols.
    ///
    /// # Errors
    /// [`StateError`]
    pub async fn run(self, server: &Server) -> Result<Opened, StateError> {
        for _ in 0..ROUNDS {
            if let Some(opened) = self.attempt(server).await? {
                return Ok(opened);
            }
        }
        Err(LogError::Unavailable("the account keeps changing".into()).into())
    }

    /// Enrols on the account as it stands; nothing if it changes meanwhile. The session would be open after whatever ended
    /// access between the look and the append, so there must be nothing in between.
    async fn attempt(&self, server: &Server) -> Result<Option<Opened>, StateError> {
        let account = self.voucher.account;
        let looked_at = account::last_seq(server, account).await?;
        let row = account::present(server, account).await?.ok_or(StateError::NoDevice)?;
        if !account::stands(server, &self.voucher).await? {
            return Err(StateError::Ended);
        }
        let places = Places::of(server, &row).await.map_err(account::LookError::from)?;
        let Joins { device, again } = decide(account::roster(&row)?, &row.roster, &self.statement, &places)?;
        let actor = Actor { account, device };
        let opened = actor.session_opened(self.session, self.method)?;
        if again && !session::stands(server, &opened).await? {
            return Err(StateError::Overtaken);
        }
        let stored = session::with_id(server, actor, self.session, self.method, self.proven_at);
        server.credentials.open_session(&stored).await?;
        let expect = StreamExpect::Exact(looked_at);
        match state_at(server, actor, &self.statement, vec![opened], expect).await? {
            Stated::At(position) => Ok(Some(Opened { stored, position, auth_epoch: row.auth_epoch })),
            Stated::Moved => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::roster_testing::{added, next, with_devices};
    use lockstep_events::roster::RosterError;
    use uuid::Uuid;

    fn add(roster: &Roster, n: u128) -> Statement {
        next(roster, added(n))
    }

    /// The devices of these numbers are in use.
    fn places(limit: u64, taken: impl IntoIterator<Item = u128>) -> Places {
        Places { limit, taken: taken.into_iter().map(|n| DeviceId(Uuid::from_u128(n))).collect() }
    }

    #[test]
    fn a_device_joins_by_the_next_statement_of_the_roster() {
        let (roster, stated) = with_devices(2);
        let next = add(&roster, 9);
        let joins = decide(roster, &stated, &next, &places(32, 1..=2)).unwrap();
        assert_eq!(joins, Joins { device: DeviceId(Uuid::from_u128(9)), again: false });
    }

    #[test]
    fn a_retry_is_recognised_although_the_roster_has_moved_on() {
        let (roster, stated) = with_devices(3);
        let joins = decide(roster, &stated, &stated[2], &places(3, 1..=3)).unwrap();
        assert_eq!(joins, Joins { device: DeviceId(Uuid::from_u128(2)), again: true });
    }

    #[test]
    fn the_statement_of_a_device_that_was_revoked_since_is_no_retry() {
        let (mut roster, mut stated) = with_devices(3);
        let gone = next(&roster, Claim::DeviceRevoked { device: DeviceId(Uuid::from_u128(2)) });
        roster.apply(&gone).unwrap();
        stated.push(gone);
        let answer = decide(roster, &stated, &stated[2], &places(32, 1..=3));
        assert!(matches!(answer, Err(StateError::Overtaken)));
    }

    #[test]
    fn a_statement_that_does_not_follow_is_refused() {
        let (early, _) = with_devices(1);
        let late = add(&early, 9);
        let (roster, stated) = with_devices(3);
        let answer = decide(roster, &stated, &late, &places(32, 1..=3));
        assert!(matches!(answer, Err(StateError::Roster(RosterError::Order))));
    }

    #[test]
    fn the_thirty_third_device_is_refused() {
        let (roster, stated) = with_devices(32);
        let next = add(&roster, 99);
        let answer = decide(roster, &stated, &next, &places(32, 1..=32));
        assert!(matches!(answer, Err(StateError::TooManyDevices(_))));
    }

    #[test]
    fn a_device_that_was_logged_out_takes_no_place() {
        let (roster, stated) = with_devices(32);
        let next = add(&roster, 99);
        assert!(decide(roster, &stated, &next, &places(32, 2..=32)).is_ok());
    }

    #[test]
    fn a_plan_may_allow_fewer() {
        let (roster, stated) = with_devices(2);
        let next = add(&roster, 99);
        let full = Exceeded { what: "devices", limit: 2, used: 2 };
        let answer = decide(roster, &stated, &next, &places(2, 1..=2));
        assert!(matches!(answer, Err(StateError::TooManyDevices(e)) if e == full));
    }
}
