//! The bus of embedded mode: a broadcast channel. Its "lagged" case goes through the same gap code as a lost message.

use std::sync::Arc;

use async_trait::async_trait;
use lockstep_events::StreamId;
use tokio::sync::broadcast;

use crate::bus::{BACKLOG, Bus, CommittedBatch, News};

/// Carries news inside one process.
#[derive(Debug)]
pub struct InProcessBus {
    news: broadcast::Sender<News>,
}

impl Default for InProcessBus {
    fn default() -> Self {
        Self { news: broadcast::channel(BACKLOG).0 }
    }
}

#[async_trait]
impl Bus for InProcessBus {
    fn publish(&self, batch: Arc<CommittedBatch>) {
        // An error means that nobody listens, which is no loss.
        let _ = self.news.send(News::Batch(batch));
    }

    fn publish_renewed(&self, stream: StreamId) {
        let _ = self.news.send(News::Renewed(stream));
    }

    fn subscribe(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    fn connected(&self) -> bool {
        true
    }

    async fn close(&self) {}
}
