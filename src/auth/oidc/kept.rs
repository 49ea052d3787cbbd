//! A document of somebody else's that is kept for a while: asked for by one at a time, and used a while longer while
//! nobody answers.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// After an attempt that failed nobody asks for so long.
const REST: Duration = Duration::from_secs(5);
/// What is older than this is no longer used, also while nobody answers: a key that was withdrawn would be good for ever.
const STALE: Duration = Duration::from_hours(1);

/// What was answered last, and what came of the last attempt.
#[derive(Debug)]
pub struct Kept<T> {
    state: Mutex<State<T>>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State<T> {
    known: Option<(Arc<T>, Instant)>,
    failed: Option<Instant>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { state: Mutex::new(State { known: None, failed: None }), asking: tokio::sync::Mutex::default() }
    }
}

impl<T> Kept<T> {
    /// The document, asked for if it is older than this; an older one if nobody answers. `now` is from before anything
    /// was waited for.
    ///
    /// # Errors
    /// What asking says, if there is nothing that can be used.
    pub async fn get<E>(
        &self,
        (not_older, now): (Duration, Instant),
        gone: impl Fn() -> E,
        ask: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        if let Some(known) = self.state().younger(not_older, now) {
            return Ok(known);
        }
        let _turn = self.asking.lock().await;
        // Whoever had the turn before has asked for all who waited.
        {
            let state = self.state();
            if let Some(known) = state.younger(not_older, now) {
                return Ok(known);
            }
            if state.failed.is_some_and(|at| now.saturating_duration_since(at) < REST) {
                return state.younger(STALE, now).ok_or_else(gone);
            }
        }
        let answer = ask().await;
        let mut state = self.state();
        match answer {
            Ok(document) => {
                let document = Arc::new(document);
                *state = State { known: Some((Arc::clone(&document), now)), failed: None };
                Ok(document)
            }
            Err(error) => {
                state.failed = Some(now);
                state.younger(STALE, now).ok_or(error)
            }
        }
    }

    // Every change is one assignment under the lock; a panic leaves nothing half-done.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn younger(&self, than: Duration, now: Instant) -> Option<Arc<T>> {
        let known = self.known.as_ref().filter(|(_, since)| now.saturating_duration_since(*since) < than);
        known.map(|(document, _)| Arc::clone(document))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const FRESH: Duration = Duration::from_mins(10);

    #[tokio::test]
    async fn a_document_is_used_while_nobody_answers_and_not_for_ever() {
        let (kept, mut now) = (Kept::default(), Instant::now());
        let get = async |now, answer: Result<u32, &'static str>| {
            kept.get((FRESH, now), || "away", async || answer).await.map(|document| *document)
        };
        assert_eq!(get(now, Ok(1)).await, Ok(1));
        now += FRESH;
        assert_eq!(get(now, Err("silent")).await, Ok(1));
        assert_eq!(get(now, Ok(2)).await, Ok(1), "it is asked for again too soon");
        now += REST;
        assert_eq!(get(now, Ok(2)).await, Ok(2));
        now += STALE;
        assert_eq!(get(now, Err("silent")).await, Err("silent"));
        assert_eq!(get(now, Ok(3)).await, Err("away"));
        now += REST;
        assert_eq!(get(now, Ok(3)).await, Ok(3));
    }

    #[tokio::test]
    async fn many_who_need_it_ask_once_whether_it_is_answered_or_not() {
        for answer in [Ok(1), Err("silent")] {
            let (kept, asked, now) = (Kept::default(), AtomicU32::new(0), Instant::now());
            let one = || {
                kept.get(
                    (FRESH, now),
                    || "away",
                    async || {
                        asked.fetch_add(1, Ordering::SeqCst);
                        // The others come meanwhile.
                        tokio::task::yield_now().await;
                        answer
                    },
                )
            };
            let (first, second, third) = tokio::join!(one(), one(), one());
            assert!([first, second, third].iter().all(|got| got.is_ok() == answer.is_ok()));
            assert_eq!(asked.load(Ordering::SeqCst), 1);
        }
    }
}
