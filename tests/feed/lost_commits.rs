//! A database of read models that crashed lacks the last commits, as they do not wait for its disk. The log has them, and a
//! node that nothing comes to notices it all the same.

use std::time::{Duration, Instant};

use lockstep_api::sync::Snapshot;
use reqwest::StatusCode;
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

use crate::{
    live::in_both_modes,
    support::{Mode, Node, Person, body},
};

in_both_modes! {
    read_models_that_were_set_back_beneath_a_node_that_rests_come_to_the_end_again
}

/// Where they stood before the first event.
const BEGINNING: &str = "UPDATE read_checkpoints SET position = 0; DELETE FROM read_rows";

async fn set_back(node: &Node) {
    let config = &node.running().server.config;
    if config.reads.expose() == "sqlite" {
        let path = config.data.join("reads.sqlite");
        let mut database = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        assert!(database.execute(sqlx::raw_sql(BEGINNING)).await.unwrap().rows_affected() > 0);
        return;
    }
    let mut database = PgConnection::connect(config.reads.expose()).await.unwrap();
    assert!(database.execute(sqlx::raw_sql(BEGINNING)).await.unwrap().rows_affected() > 0);
}

async fn entries(node: &Node, person: &Person) -> Option<usize> {
    let answer = person.get(node, &format!("/v1/vaults/{}/snapshot", person.vault)).await;
    if answer.status() != StatusCode::OK {
        return None;
    }
    let snapshot: Snapshot = body(answer, StatusCode::OK).await;
    Some(snapshot.entries.len())
}

async fn read_models_that_were_set_back_beneath_a_node_that_rests_come_to_the_end_again(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let epoch = person.epoch(&node).await;
    person.write(&node, epoch, &[vec![1; 40], vec![2; 40]]).await;
    assert_eq!(entries(&node, &person).await, Some(2));
    let log = &node.running().server.log;
    loop {
        let tail = log.tail().await.unwrap();
        set_back(&node).await;
        let until = Instant::now() + Duration::from_secs(60);
        while entries(&node, &person).await != Some(2) {
            assert!(Instant::now() < until, "the rows are gone, and nobody notices it");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Where the node wrote something of its own meanwhile, that was noticed by it.
        if log.tail().await.unwrap() == tail {
            break;
        }
    }
}
