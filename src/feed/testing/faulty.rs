//! A bus with seeded faults: messages are lost, repeated, held back and delivered out of order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lockstep_events::StreamId;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::broadcast;

use crate::{
    adapters::in_process::InProcessBus,
    bus::{Bus, CommittedBatch, News},
};

/// How often what goes wrong, from 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// A message never arrives.
    pub loss: f64,
    /// A message arrives twice.
    pub repeat: f64,
    /// A message is held back and comes after later ones.
    pub late: f64,
    /// A message travels without its events.
    pub bare: f64,
}

/// A bus that is as bad as a bus may be.
pub struct FaultyBus {
    carrier: InProcessBus,
    faults: Faults,
    state: Mutex<(StdRng, Vec<Arc<CommittedBatch>>)>,
}

impl FaultyBus {
    /// Faults from a seed.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let state = Mutex::new((StdRng::seed_from_u64(seed), Vec::new()));
        Self { carrier: InProcessBus::default(), faults, state }
    }

    fn state(&self) -> MutexGuard<'_, (StdRng, Vec<Arc<CommittedBatch>>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Bus for FaultyBus {
    fn publish(&self, batch: Arc<CommittedBatch>) {
        let mut state = self.state();
        let (random, held) = &mut *state;
        if random.gen_bool(self.faults.loss) {
            return;
        }
        let bare = CommittedBatch { events: Vec::new(), after: batch.after, to: batch.to };
        let batch = if random.gen_bool(self.faults.bare) { Arc::new(bare) } else { batch };
        if random.gen_bool(self.faults.late) {
            held.push(batch);
            return;
        }
        if random.gen_bool(self.faults.repeat) {
            self.carrier.publish(Arc::clone(&batch));
        }
        self.carrier.publish(batch);
        held.drain(..).rev().for_each(|late| self.carrier.publish(late));
    }

    fn publish_renewed(&self, stream: StreamId) {
        self.carrier.publish_renewed(stream);
    }

    fn subscribe(&self) -> broadcast::Receiver<News> {
        self.carrier.subscribe()
    }

    fn connected(&self) -> bool {
        true
    }

    async fn close(&self) {}
}
