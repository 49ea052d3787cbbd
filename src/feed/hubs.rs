//! All hubs of this node.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use lockstep_events::{EventLog, LogError, Recorded, StreamId};

use super::{
    hub::{Asked, Hub},
    signal::Signal,
};

/// Heads that are asked for in one call when hubs are checked.
const CHECK_AT_ONCE: usize = 500;

/// The streams that somebody on this node listens to.
#[derive(Debug, Default)]
pub struct Hubs {
    hubs: Mutex<HashMap<StreamId, Arc<Hub>>>,
}

/// Somebody listens to a hub, until this is dropped.
#[derive(Debug)]
pub struct Listening {
    /// The hub.
    pub hub: Arc<Hub>,
    id: u64,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.hub.remove(self.id);
    }
}

impl Hubs {
    fn hubs(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<Hub>>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a listener. From here on the hub misses no event; open it before it is read.
    pub fn listen(&self, stream: StreamId, signal: &Arc<Signal>) -> Listening {
        let mut hubs = self.hubs();
        let hub = hubs.entry(stream).or_insert_with(|| Arc::new(Hub::new(stream, Instant::now())));
        // Under the lock, so that `tidy` cannot drop the hub in between.
        hub.add(Arc::clone(signal));
        Listening { hub: Arc::clone(hub), id: signal.id }
    }

    /// The follower brings events in the order of the log.
    pub fn push(&self, events: &[Recorded]) {
        let now = Instant::now();
        let mut touched: Vec<(StreamId, Arc<Hub>)> = Vec::new();
        {
            let hubs = self.hubs();
            for event in events {
                let known = touched.iter().rev().find(|(stream, _)| *stream == event.stream);
                let hub = match known {
                    Some((_, hub)) => hub,
                    None => match hubs.get(&event.stream) {
                        Some(hub) => {
                            touched.push((event.stream, Arc::clone(hub)));
                            hub
                        }
                        None => continue,
                    },
                };
                hub.push(event, now);
            }
        }
        for (_, hub) in &touched {
            hub.wake();
        }
    }

    /// A stream may have begun another life: asks the log.
    ///
    /// # Errors
    /// If the log does not answer; the hub is asked about again later.
    pub async fn renewed(&self, log: &dyn EventLog, stream: StreamId) -> Result<(), LogError> {
        let Some(hub) = self.hubs().get(&stream).map(Arc::clone) else { return Ok(()) };
        let asked = hub.ask();
        match log.stream_heads(&[stream]).await?.first() {
            Some(head) => hub.set_head(asked, head, Instant::now()),
            None => hub.missing(asked, Instant::now()),
        }
        Ok(())
    }

    /// The log was away, or the bus was: every hub is asked about at the next [`Self::tidy`].
    pub fn doubt(&self) {
        self.hubs().values().for_each(|hub| hub.doubt());
    }

    /// Drops what nobody needs, and asks the log about the hubs that were not asked about for long.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn tidy(&self, log: &dyn EventLog) -> Result<(), LogError> {
        let now = Instant::now();
        self.hubs().retain(|_, hub| hub.tidy(now));
        for due in self.due(now).chunks(CHECK_AT_ONCE) {
            check(log, due).await?;
        }
        Ok(())
    }

    /// The hubs that it is time to ask about. Those first that were not asked about for longest: a round may end before it
    /// comes to the last one.
    pub(super) fn due(&self, now: Instant) -> Vec<(StreamId, Arc<Hub>)> {
        let hubs = self.hubs();
        let waiting = hubs.iter().filter(|(_, hub)| hub.wants_check(now));
        let mut due: Vec<_> =
            waiting.map(|(stream, hub)| (hub.checked(), (*stream, Arc::clone(hub)))).collect();
        drop(hubs);
        due.sort_by_key(|(checked, _)| *checked);
        due.into_iter().map(|(_, hub)| hub).collect()
    }

    /// How many hubs there are.
    pub fn len(&self) -> usize {
        self.hubs().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Asks the log about some hubs at once.
async fn check(log: &dyn EventLog, hubs: &[(StreamId, Arc<Hub>)]) -> Result<(), LogError> {
    let asked: Vec<Asked> = hubs.iter().map(|(_, hub)| hub.ask()).collect();
    let streams: Vec<StreamId> = hubs.iter().map(|(stream, _)| *stream).collect();
    let heads: HashMap<StreamId, _> =
        log.stream_heads(&streams).await?.into_iter().map(|head| (head.stream, head)).collect();
    let now = Instant::now();
    for ((stream, hub), asked) in hubs.iter().zip(asked) {
        match heads.get(stream) {
            Some(head) => hub.set_head(asked, head, now),
            None => hub.missing(asked, now),
        }
    }
    Ok(())
}
