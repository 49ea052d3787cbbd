//! Who was revoked a short while ago: tokens that are not expired yet are refused by this.
//!
//! A revoked session gets no new token, so only the life of an access token must be covered.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use lockstep_events::{
    DeviceId, EventLog, LogError, Micros, Position, Recorded, SessionId,
    log::{Contents, Filter},
};

/// Revocations are remembered so long after they were recorded: longer than any access token lives.
pub const REMEMBERED: Duration = Duration::from_mins(30);
/// Stored names of the events that revoke.
const KINDS: [&str; 3] = ["device.revoked", "session.revoked", "session.refresh_reused"];
/// Events that are read at once when the node starts.
const PAGE: usize = 1_000;

/// What was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// A device, with all its sessions.
    Device(DeviceId),
    /// One session.
    Session(SessionId),
}

impl Revoked {
    /// What an event revokes, if it does. The envelope says it; the body is not looked at.
    pub fn by(event: &Recorded) -> Option<Self> {
        let subject = event.subject.filter(|_| KINDS.contains(&event.kind.as_str()))?;
        Some(if event.kind == KINDS[0] {
            Self::Device(subject.into())
        } else {
            Self::Session(subject.into())
        })
    }
}

/// The devices and sessions whose tokens are refused.
#[derive(Debug, Default)]
pub struct Revocations {
    revoked: RwLock<HashMap<Revoked, Micros>>,
}

impl Revocations {
    /// What was revoked while this node did not run, by the log.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn load(log: &dyn EventLog, until: Position) -> Result<Self, LogError> {
        let loaded = Self::default();
        let filter = Filter { stream_kind: None, kinds: KINDS.map(str::to_owned).to_vec() };
        let mut after = first_remembered(log, until).await?;
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
        let revoking = events.iter().filter_map(|event| Some((Revoked::by(event)?, event.recorded_at)));
        let news: Vec<(Revoked, Micros)> = revoking.collect();
        if let Some((_, latest)) = news.last() {
            let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
            revoked.retain(|_, at| *at > remembered_until(*latest));
            revoked.extend(news.iter().copied());
        }
        news.into_iter().map(|(what, _)| what).collect()
    }

    /// Whether a token of this device and session must be refused.
    pub fn refuses(&self, device: DeviceId, session: SessionId) -> bool {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        !revoked.is_empty()
            && (revoked.contains_key(&Revoked::Device(device))
                || revoked.contains_key(&Revoked::Session(session)))
    }
}

fn remembered_until(latest: Micros) -> Micros {
    Micros(latest.0.saturating_sub(i64::try_from(REMEMBERED.as_micros()).unwrap_or(i64::MAX)))
}

/// The last position whose time is too old to matter: `recorded_at` rises with `position`, so this is a binary
/// search.
async fn first_remembered(log: &dyn EventLog, until: Position) -> Result<Position, LogError> {
    let oldest = remembered_until(log.tail().await?.recorded_at);
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

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn revoking(kind: &str, subject: u128, minute: i64) -> Recorded {
        let subject = Some(id(subject).into());
        Recorded { kind: kind.to_owned(), subject, recorded_at: Micros(minute * MINUTE), ..some_event(1) }
    }

    #[test]
    fn a_revoked_device_or_session_is_refused_and_others_are_not() {
        let view = Revocations::default();
        let told =
            view.apply(&[revoking("device.revoked", 1, 0), revoking("session.revoked", 2, 0), some_event(9)]);
        assert_eq!(told, [Revoked::Device(id(1).into()), Revoked::Session(id(2).into())]);
        assert!(view.refuses(id(1).into(), id(9).into()));
        assert!(view.refuses(id(9).into(), id(2).into()));
        assert!(!view.refuses(id(2).into(), id(1).into()));
    }

    #[test]
    fn what_no_token_can_outlive_is_forgotten() {
        let view = Revocations::default();
        view.apply(&[revoking("session.revoked", 1, 0)]);
        view.apply(&[revoking("session.revoked", 2, 31)]);
        assert!(!view.refuses(id(9).into(), id(1).into()));
        assert!(view.refuses(id(9).into(), id(2).into()));
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
        let view = Revocations::load(&log, Position(6)).await.unwrap();
        let refused: Vec<bool> = (1..=6).map(|n| view.refuses(id(99).into(), id(n).into())).collect();
        assert_eq!(refused, [false, false, false, true, true, true]);
    }

    #[tokio::test]
    async fn an_empty_log_revokes_nobody() {
        let view = Revocations::load(&log_with(&[]).await, Position(0)).await.unwrap();
        assert!(!view.refuses(id(1).into(), id(1).into()));
    }
}
