//! The bus of distributed mode: core NATS, one subject per log, `lockstep.v1.<log id>.batches`.
//!
//! Publishing goes through a bounded place to a relay task, so that a request never waits for the network; while
//! NATS is away nothing is kept, for whoever listens reads the log.

mod frame;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::{Client, ConnectOptions, Event, Subscriber, connection::State};
use async_trait::async_trait;
use futures_util::StreamExt;
use lockstep_events::StreamId;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::frame::Message;
use crate::bus::{BACKLOG, Bus, CommittedBatch, News};

/// Messages that may wait for the relay task; the next one is dropped.
const PLACES: usize = 256;
/// Between two attempts to reach NATS, at most.
const SLOWEST_RETRY: Duration = Duration::from_secs(2);

/// Why the bus could not start.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The address is not one of NATS, or its options contradict each other.
    #[error("the address of NATS is not usable")]
    Connect(#[from] async_nats::ConnectError),
    /// The subject was refused.
    #[error("NATS does not take the subscription")]
    Subscribe(#[from] async_nats::SubscribeError),
}

/// Carries news between nodes over NATS, and at once inside this process.
pub struct NatsBus {
    client: Client,
    news: broadcast::Sender<News>,
    relay: mpsc::Sender<Outgoing>,
    tasks: Mutex<Tasks>,
    ended: CancellationToken,
}

/// What works for the bus.
#[derive(Default)]
struct Tasks {
    all: JoinSet<()>,
    /// Cancelled when the first of them has ended, also by a panic.
    ended: CancellationToken,
}

impl Tasks {
    fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone().drop_guard();
        self.all.spawn(async move {
            let _ended = ended;
            work.await;
        });
    }
}

enum Outgoing {
    Batch(Arc<CommittedBatch>),
    Renewed(StreamId),
}

impl NatsBus {
    /// Starts the bus of one log. NATS itself need not be there: it is looked for in the background, for ever.
    ///
    /// # Errors
    /// If the address cannot be used at all.
    pub async fn connect(url: &str, log_id: Uuid) -> Result<Self, NatsError> {
        let subject = format!("lockstep.v1.{log_id}.batches");
        let (news, _) = broadcast::channel(BACKLOG);
        let client = options(news.clone()).connect(url).await?;
        let subscriber = client.subscribe(subject.clone()).await?;
        let (relay, outgoing) = mpsc::channel(PLACES);
        let mut tasks = Tasks::default();
        tasks.spawn(listen(subscriber, news.clone()));
        tasks.spawn(send(client.clone(), subject, outgoing));
        Ok(Self { client, news, relay, ended: tasks.ended.clone(), tasks: Mutex::new(tasks) })
    }
}

fn options(news: broadcast::Sender<News>) -> ConnectOptions {
    let link = Arc::new(Mutex::new(Link::New));
    ConnectOptions::new()
        .name("lockstepd")
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            let doubled = u32::try_from(attempts.min(6)).map_or(64, |n| 1 << n);
            (Duration::from_millis(25) * doubled).min(SLOWEST_RETRY)
        })
        .connection_timeout(Duration::from_secs(2))
        .ping_interval(Duration::from_secs(5))
        .client_capacity(PLACES)
        // Its own batches reach a node's listeners without the network.
        .no_echo()
        .event_callback(move |event| {
            let (news, link) = (news.clone(), Arc::clone(&link));
            async move { heard(&event, &news, &link) }
        })
}

/// How the connection was when it was last told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// It was never there, and nobody has said so yet.
    New,
    Up,
    /// It is not there, and that was said.
    Away,
}

/// The library tells of every attempt; what is logged is what changes.
fn heard(event: &Event, news: &broadcast::Sender<News>, link: &Mutex<Link>) {
    let mut link = link.lock().unwrap_or_else(PoisonError::into_inner);
    match (event, *link) {
        (Event::Connected, before) => {
            *link = Link::Up;
            if before == Link::Away {
                tracing::info!("NATS is back: news of other nodes come at once again");
            } else {
                tracing::info!("connected to NATS");
            }
            let _ = news.send(News::Reconnected);
        }
        (Event::Disconnected, Link::New | Link::Up) => {
            *link = Link::Away;
            tracing::warn!(
                "NATS is gone: everything is served and written on, and news of other nodes come by looking at the \
                 end of the log, a moment later; it is looked for until it is back"
            );
        }
        (Event::ClientError(cause), Link::New) => {
            *link = Link::Away;
            tracing::warn!(
                %cause,
                "NATS does not answer: everything is served and written all the same, and news of other nodes come by \
                 looking at the end of the log, a moment later; it is looked for until it is there"
            );
        }
        (Event::SlowConsumer(_), _) => {
            let _ = news.send(News::Reconnected);
        }
        _ => {}
    }
}

async fn listen(mut subscriber: Subscriber, news: broadcast::Sender<News>) {
    while let Some(message) = subscriber.next().await {
        let told = match frame::read(&message.payload) {
            Some(Message::Batch(batch)) => News::Batch(Arc::new(batch)),
            Some(Message::Renewed(stream)) => News::Renewed(stream),
            None => {
                tracing::warn!(bytes = message.payload.len(), "a message on the bus cannot be read; ignored");
                continue;
            }
        };
        let _ = news.send(told);
    }
}

async fn send(client: Client, subject: String, mut outgoing: mpsc::Receiver<Outgoing>) {
    while let Some(next) = outgoing.recv().await {
        // What is sent while NATS is away would only be old news when it is back.
        if client.connection_state() != State::Connected {
            continue;
        }
        let bytes = match next {
            Outgoing::Batch(batch) => frame::batch(&batch),
            Outgoing::Renewed(stream) => frame::renewed(stream),
        };
        if let Err(error) = client.publish(subject.clone(), bytes.into()).await {
            tracing::debug!(%error, "a batch was not published; other nodes find it in the log");
        }
    }
}

#[async_trait]
impl Bus for NatsBus {
    fn publish(&self, batch: Arc<CommittedBatch>) {
        let _ = self.news.send(News::Batch(Arc::clone(&batch)));
        let _ = self.relay.try_send(Outgoing::Batch(batch));
    }

    fn publish_renewed(&self, stream: StreamId) {
        let _ = self.news.send(News::Renewed(stream));
        let _ = self.relay.try_send(Outgoing::Renewed(stream));
    }

    fn subscribe(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    fn connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// The library's own task too: without it, nothing comes to the one that listens, which ends then.
    async fn ended(&self) {
        self.ended.cancelled().await;
    }

    async fn close(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).all.abort_all();
        // Waits for what is on its way, but not for a server that is not there.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.client.flush()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_or_ends_is_noticed_and_one_that_works_is_not() {
        let works: [fn() -> bool; 2] = [|| panic!("a defect"), || false];
        for work in works {
            let mut tasks = Tasks::default();
            tasks.spawn(std::future::pending());
            tokio::task::yield_now().await;
            assert!(!tasks.ended.is_cancelled());
            tasks.spawn(async move {
                let _ = work();
            });
            tasks.ended.cancelled().await;
        }
    }

    #[tokio::test]
    async fn a_bus_whose_server_is_not_there_goes_on_and_one_whose_tasks_are_gone_says_so() {
        let bus = NatsBus::connect("nats://127.0.0.1:1", Uuid::nil()).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(300), bus.ended()).await;
        assert!(waited.is_err(), "nobody is there, which is no defect");
        bus.tasks.lock().unwrap().all.abort_all();
        bus.ended().await;
    }
}
