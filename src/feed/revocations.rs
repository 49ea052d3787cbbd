//! Who was revoked a short while ago: tokens that are not expired yet are refused by this.
//!
//! A revoked session gets no new token, so only the life of an access token must be covered.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use lockstep_events::{
    AccountId, DeviceId, EventLog, LogError, Micros, Position, Recorded, Seq, SessionId,
    log::{Contents, Filter},
};

/// Revocations are remembered so long after this node has learnt of them: longer than any access token lives. What the
/// log says of the time does not count here: one node whose clock runs ahead moves it for all.
pub const REMEMBERED: Duration = Duration::from_mins(30);
/// Stored names of the events that revoke.
const KINDS: [&str; 4] =
    ["device.revoked", "account.sessions_ended", "session.revoked", "session.refresh_reused"];
/// Events that are read at once when the node starts.
const PAGE: usize = 1_000;

/// What was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// A device of an account, with all its sessions.
    Device(AccountId, DeviceId),
    /// One session.
    Session(SessionId),
    /// All sessions of an account that were opened before a place in its stream, but one.
    Account {
        /// The account.
        account: AccountId,
        /// The place.
        before: Seq,
        /// The session that goes on.
        keep: Option<SessionId>,
    },
}

/// Who has access to what, as its token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The account.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
    /// The session.
    pub session: SessionId,
    /// The account's auth epoch when the token was made: the seq of the last end of access that it knew.
    pub auth_epoch: u64,
}

impl Revoked {
    /// What an event revokes, if it does. The envelope says it; the body is not looked at.
    pub fn by(event: &Recorded) -> Option<Self> {
        let kind = KINDS.into_iter().find(|kind| event.kind == *kind)?;
        if kind == KINDS[1] {
            let keep = event.subject.map(SessionId::from);
            return Some(Self::Account { account: event.stream.into(), before: event.seq, keep });
        }
        let (account, subject) = (event.stream.into(), event.subject?);
        let device = kind == KINDS[0];
        Some(if device { Self::Device(account, subject.into()) } else { Self::Session(subject.into()) })
    }

    /// Whether this access has ended by it.
    pub fn hits(&self, access: &Access) -> bool {
        match *self {
            Self::Device(account, device) => (account, device) == (access.account, access.device),
            Self::Session(session) => session == access.session,
            Self::Account { account, before, keep } => {
                account == access.account && access.auth_epoch < before.0 && keep != Some(access.session)
            }
        }
    }
}

/// The devices, sessions and accounts whose tokens are refused.
#[derive(Debug, Default)]
pub struct Revocations {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    single: HashMap<Revoked, Instant>,
    accounts: HashMap<AccountId, Vec<(Revoked, Instant)>>,
}

impl Known {
    fn forget(&mut self, now: Instant) {
        let remembered = |at: &Instant| now.saturating_duration_since(*at) < REMEMBERED;
        self.single.retain(|_, at| remembered(at));
        self.accounts.retain(|_, ends| {
            ends.retain(|(_, at)| remembered(at));
            !ends.is_empty()
        });
    }

    fn learn(&mut self, what: Revoked, at: Instant) {
        if let Revoked::Account { account, .. } = what {
            let ends = self.accounts.entry(account).or_default();
            if !ends.iter().any(|(known, _)| *known == what) {
                ends.push((what, at));
            }
        } else {
            self.single.insert(what, at);
        }
    }
}

impl Revocations {
    /// What was revoked while this node did not run, by the log. `now` is this node's time.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn load(log: &dyn EventLog, until: Position, now: Micros) -> Result<Self, LogError> {
        let loaded = Self::default();
        let filter = Filter { stream_kind: None, kinds: KINDS.map(str::to_owned).to_vec() };
        let mut after = first_remembered(log, until, now).await?;
        loop {
            let page = log.read_all(after, PAGE, &filter, Contents::No).await?;
            loaded.apply(&page);
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.position,
                _ => return Ok(loaded),
            }
        }
    }

    /// Takes in events; what they revoke.
    pub fn apply(&self, events: &[Recorded]) -> Vec<Revoked> {
        self.apply_at(events, Instant::now())
    }

    fn apply_at(&self, events: &[Recorded], now: Instant) -> Vec<Revoked> {
        let news: Vec<Revoked> = events.iter().filter_map(Revoked::by).collect();
        if !news.is_empty() {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.forget(now);
            for what in &news {
                known.learn(*what, now);
            }
        }
        news
    }

    /// Whether a token with this access must be refused.
    pub fn refuses(&self, access: &Access) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let single = !known.single.is_empty()
            && (known.single.contains_key(&Revoked::Device(access.account, access.device))
                || known.single.contains_key(&Revoked::Session(access.session)));
        let ends = known.accounts.get(&access.account);
        single || ends.is_some_and(|ends| ends.iter().any(|(end, _)| end.hits(access)))
    }
}

/// The last position whose time is too old to matter: `recorded_at` rises with `position`, so this is a binary
/// search. A log whose time has run ahead does not shorten it.
async fn first_remembered(log: &dyn EventLog, until: Position, now: Micros) -> Result<Position, LogError> {
    let latest = log.tail().await?.recorded_at.min(now);
    let oldest = Micros(latest.0.saturating_sub(i64::try_from(REMEMBERED.as_micros()).unwrap_or(i64::MAX)));
    let (mut old, mut recent) = (0, until.0 + 1);
    while recent - old > 1 {
        let middle = old + (recent - old) / 2;
        let at = log.read_all(Position(middle - 1), 1, &Filter::default(), Contents::No).await?;
        if at.first().is_some_and(|event| event.recorded_at <= oldest) {
            old = middle;
        } else {
            recent = middle;
        }
    }
    Ok(Position(old))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::testing::{new_event, some_event, unit};
    use lockstep_events::{NewEvent, StreamId, StreamKind, testing::MemoryLog};
    use uuid::Uuid;

    const MINUTE: i64 = 60_000_000;
    const ACCOUNT: u128 = 7;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn revoking(kind: &str, subject: u128, minute: i64) -> Recorded {
        let (stream, subject) = (StreamId(id(ACCOUNT)), Some(id(subject).into()));
        Recorded {
            kind: kind.to_owned(),
            stream,
            subject,
            recorded_at: Micros(minute * MINUTE),
            ..some_event(1)
        }
    }

    fn access(account: u128, device: u128, session: u128, auth_epoch: u64) -> Access {
        let (account, device, session) = (id(account).into(), id(device).into(), id(session).into());
        Access { account, device, session, auth_epoch }
    }

    fn ended(account: u128, seq: u64, keep: Option<u128>) -> Recorded {
        let subject = keep.map(|session| id(session).into());
        let kind = "account.sessions_ended".to_owned();
        Recorded { kind, subject, stream: StreamId(id(account)), seq: Seq(seq), ..some_event(1) }
    }

    #[test]
    fn an_account_s_tokens_from_before_are_refused_but_those_of_the_kept_session_and_later_ones_are_not() {
        let view = Revocations::default();
        view.apply(&[ended(1, 10, Some(5))]);
        assert!(view.refuses(&access(1, 2, 4, 9)));
        assert!(!view.refuses(&access(1, 2, 5, 9)));
        assert!(!view.refuses(&access(1, 2, 4, 10)));
        assert!(!view.refuses(&access(9, 2, 4, 9)));
    }

    #[test]
    fn a_session_that_an_earlier_end_did_not_spare_is_not_revived_by_a_later_one_that_would() {
        let view = Revocations::default();
        view.apply(&[ended(1, 10, None)]);
        view.apply(&[ended(1, 12, Some(5))]);
        assert!(view.refuses(&access(1, 2, 5, 9)));
        assert!(!view.refuses(&access(1, 2, 5, 11)));
    }

    #[test]
    fn a_revoked_device_or_session_is_refused_and_others_are_not() {
        let view = Revocations::default();
        let told =
            view.apply(&[revoking("device.revoked", 1, 0), revoking("session.revoked", 2, 0), some_event(9)]);
        let device = Revoked::Device(id(ACCOUNT).into(), id(1).into());
        assert_eq!(told, [device, Revoked::Session(id(2).into())]);
        assert!(view.refuses(&access(ACCOUNT, 1, 9, 0)));
        assert!(view.refuses(&access(ACCOUNT, 9, 2, 0)));
        assert!(!view.refuses(&access(ACCOUNT, 2, 1, 0)));
    }

    /// A token that enrols has no device: its place is nil, and somebody's log may have a device of that id.
    #[test]
    fn a_device_is_revoked_in_its_own_account_alone() {
        let view = Revocations::default();
        view.apply(&[revoking("device.revoked", 0, 0), revoking("device.revoked", 1, 0)]);
        for device in [0, 1] {
            assert!(view.refuses(&access(ACCOUNT, device, 9, 0)));
            assert!(!view.refuses(&access(8, device, 9, 0)));
        }
    }

    #[test]
    fn what_no_token_can_outlive_is_forgotten() {
        let (view, began) = (Revocations::default(), Instant::now());
        view.apply_at(&[revoking("session.revoked", 1, 0), ended(3, 10, None)], began);
        view.apply_at(&[revoking("session.revoked", 2, 0)], began + Duration::from_mins(31));
        assert!(!view.refuses(&access(0, 9, 1, 0)) && !view.refuses(&access(3, 9, 9, 9)));
        assert!(view.refuses(&access(0, 9, 2, 0)));
    }

    #[test]
    fn a_log_whose_time_leaps_ahead_makes_no_node_forget() {
        let view = Revocations::default();
        view.apply(&[revoking("session.revoked", 1, 0), ended(3, 10, None)]);
        view.apply(&[revoking("session.revoked", 2, 90)]);
        assert!(view.refuses(&access(0, 9, 1, 0)) && view.refuses(&access(3, 9, 9, 9)));
    }

    async fn log_with(minutes: &[i64]) -> MemoryLog {
        let log = MemoryLog::new(id(0));
        for (n, minute) in (1_u128..).zip(minutes) {
            let event = NewEvent { kind: "session.revoked".to_owned(), ..new_event(StreamId(id(1)), n) };
            let unit = unit(StreamKind::Account, event);
            log.append(&[unit], Micros(minute * MINUTE)).await.unwrap();
        }
        log
    }

    #[tokio::test]
    async fn a_node_that_starts_knows_who_was_revoked_while_it_was_away() {
        let log = log_with(&[0, 1, 2, 40, 41, 60]).await;
        let refused = async |minute| {
            let now = Micros(minute * MINUTE);
            let view = Revocations::load(&log, Position(6), now).await.unwrap();
            (1..=6).map(|n| view.refuses(&access(0, 99, n, 0))).collect::<Vec<bool>>()
        };
        assert_eq!(refused(60).await, [false, false, false, true, true, true]);
        assert_eq!(refused(31).await, [false, false, true, true, true, true], "the log's time has run ahead");
    }

    #[tokio::test]
    async fn an_empty_log_revokes_nobody() {
        let view = Revocations::load(&log_with(&[]).await, Position(0), Micros(0)).await.unwrap();
        assert!(!view.refuses(&access(0, 1, 1, 0)));
    }
}
