use super::*;
use crate::config::Layer;

/// Its name, and how it ends.
type Part = (&'static str, fn(&Tasks));

fn layer(folder: &tempfile::TempDir) -> Layer {
    Layer {
        data: Some(folder.path().to_owned()),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        plain_http: Some(true),
        ..Layer::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_server_that_ends_by_itself_is_noticed_whichever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let layer = layer(&folder);
    let parts: [Part; 4] = [
        ("what serves clients", |tasks| tasks.http.abort()),
        ("what keeps the read models", |tasks| tasks.follower.abort()),
        ("upkeep", |tasks| tasks.upkeep.abort()),
        ("mail", |tasks| tasks.mail.abort()),
    ];
    for (name, end) in parts {
        let mut running = start(Config::with(layer.clone()).unwrap()).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(100), running.broken()).await;
        assert!(waited.is_err(), "{waited:?}");
        end(&running.tasks);
        assert_eq!(running.broken().await, name);
        // What is left of it lets go of the folder.
        running.server.batcher.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_over_a_network_that_ends_by_itself_is_noticed_and_one_that_is_not_connected_is_none() {
    let folder = tempfile::tempdir().unwrap();
    // No choice of an operator, as the rest belongs to one node; here it needs no services.
    let config = Config { bus: "nats://127.0.0.1:1".into(), ..Config::with(layer(&folder)).unwrap() };
    let mut running = start(config).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(100), running.broken()).await;
    assert!(waited.is_err(), "{waited:?}");
    running.server.bus.close().await;
    assert_eq!(running.broken().await, "the bus");
    running.server.batcher.shutdown().await;
}
