//! NATS is not there, comes, goes, and comes back: each is told once, however often it was tried meanwhile.

use std::{net::TcpListener, time::Duration};

use lockstep_api::sync::PushOutcome;

use crate::{
    nats_process::NatsProcess,
    support::{
        device::{Device, entry},
        mode::Mode,
        told::Told,
    },
};

const NOT_THERE: &str = "NATS does not answer";
const GONE: &str = "NATS is gone";
const BACK: &str = "NATS is back";

/// Waits until a node has tried this often to reach NATS, where something takes its connections and ends them.
fn tried(port: u16, often: usize) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    for _ in 0..often {
        drop(listener.accept().unwrap());
    }
}

async fn tries(nats: &NatsProcess) {
    let port = nats.port();
    let waited = tokio::task::spawn_blocking(move || tried(port, 4));
    tokio::time::timeout(Duration::from_mins(1), waited).await.expect("it is not tried").unwrap();
}

async fn takes_writes(device: &Device) {
    let pushed = device.push(vec![device.edit(entry(), &[], b"written without NATS")]).await;
    assert_eq!(pushed[0].outcome, PushOutcome::Accepted);
}

#[tokio::test]
async fn nats_that_goes_and_comes_is_told_once_each_time_and_not_for_each_attempt_and_writes_go_on() {
    let mut nats = NatsProcess::reserve();
    let mut options = Mode::Distributed.options().await;
    options.iter_mut().filter(|(name, _)| name == "LOCKSTEP_BUS").for_each(|(_, value)| *value = nats.url());
    let told = Told::start_with(&options);
    let device = Device::register(told.server.addr).await;
    let said = told.says(NOT_THERE).await;
    assert!(said.contains("WARN") && said.contains("everything is served and written"), "{said}");
    tries(&nats).await;
    takes_writes(&device).await;
    nats.start().await;
    let said = told.says(BACK).await;
    assert!(said.contains("INFO"), "{said}");
    assert!(told.metrics().await.contains("\nlockstep_bus_connected 1"));

    nats.stop();
    let said = told.says(GONE).await;
    assert!(said.contains("WARN") && said.contains("everything is served and written on"), "{said}");
    assert!(said.contains("looking at the end of the log"), "{said}");
    tries(&nats).await;
    takes_writes(&device).await;
    assert!(told.metrics().await.contains("\nlockstep_bus_connected 0"));
    assert_eq!(told.health().await.1["bus"], "degraded");
    nats.start().await;
    told.says_again(BACK, 2).await;

    for (words, times) in [(NOT_THERE, 1), (GONE, 1), (BACK, 2), (" WARN ", 2), (" ERROR ", 0)] {
        let lines = told.lines(words);
        assert_eq!(lines.len(), times, "{words}: {lines:?}");
    }
    let others = told.lines("async_nats");
    assert!(others.is_empty(), "the library speaks for each attempt: {others:?}");
}
