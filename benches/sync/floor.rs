//! The least that news of a push can cost: one commit, and in distributed mode one message over NATS.

use std::time::Instant;

use futures_util::StreamExt;

use crate::{raw, report::percentile};

/// Median and 99th percentile, in milliseconds, and what was measured.
pub struct Floor {
    pub p50: f64,
    pub p99: f64,
    pub name: &'static str,
}

/// The floor of embedded mode.
pub async fn embedded(samples: usize) -> Floor {
    let folder = tempfile::tempdir().unwrap();
    let mut file = raw::open_sqlite(&folder.path().join("floor.db")).await;
    let mut took = raw::commits_sqlite(&mut file, samples).await;
    Floor { p50: percentile(&mut took, 0.5), p99: percentile(&mut took, 0.99), name: "one SQLite commit" }
}

/// The floor over services: a commit in Postgres, then a message of 1 KB from one connection of NATS to another.
pub async fn distributed(samples: usize) -> Floor {
    let url = raw::database(&std::env::var("LOCKSTEP_TEST_POSTGRES").unwrap()).await;
    let mut database = raw::connect(&url, 1).await;
    let commits = raw::commits(&mut database[0], samples).await;
    let nats = std::env::var("LOCKSTEP_TEST_NATS").unwrap();
    let (from, to) = (async_nats::connect(&nats).await.unwrap(), async_nats::connect(&nats).await.unwrap());
    let mut heard = to.subscribe("floor").await.unwrap();
    to.flush().await.unwrap();
    let mut took = Vec::with_capacity(samples);
    for commit in commits {
        let started = Instant::now();
        from.publish("floor", vec![7; 1024].into()).await.unwrap();
        from.flush().await.unwrap();
        heard.next().await.unwrap();
        took.push(commit + started.elapsed().as_secs_f64() * 1000.0);
    }
    let name = "one Postgres commit and one NATS message";
    Floor { p50: percentile(&mut took, 0.5), p99: percentile(&mut took, 0.99), name }
}
