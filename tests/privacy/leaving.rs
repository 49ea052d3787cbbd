//! What a server leaves behind: personal data stands in the open nowhere, and no table about people is forgotten.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::StreamExt;
use lockstep_events::{EventId, event::AskedBy};
use lockstepd::{
    adapters::{postgres, sqlite},
    commands::erase::RequestErasure,
    subjects::holding::ELSEWHERE,
};
use sqlx::Connection;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    both,
    canary::{canary, has},
    ground::{Life, left},
    support::{Mode, Node},
};

/// The table of migrations, which is about the database.
const MIGRATIONS: &str = "_sqlx_migrations";

/// Everything that goes over a NATS server from now on.
pub async fn overhear() -> Arc<Mutex<Vec<u8>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let url =
        std::env::var("LOCKSTEP_TEST_NATS").expect("LOCKSTEP_TEST_NATS is not set: run cargo xtask test");
    let client = async_nats::connect(url).await.unwrap();
    let mut messages = client.subscribe(">").await.unwrap();
    client.flush().await.unwrap();
    let all = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            let mut all = all.lock().await;
            all.extend_from_slice(message.subject.as_bytes());
            all.extend_from_slice(&message.payload);
        }
        drop(client);
    });
    heard
}

both! {
    async fn dump_has_no_canary(mode: Mode) {
        let heard = if mode == Mode::Distributed { Some(overhear().await) } else { None };
        let node = Node::start(mode).await;
        let life = Life::lead(&node).await;
        let (reason, agent) = (canary(), canary());
        let request = RequestErasure {
            account: life.account(),
            actor: None,
            by: AskedBy::Administrator,
            reason: Some(reason.clone()),
            due_at: lockstep_events::Micros(i64::MAX),
            event_id: EventId(Uuid::new_v4()),
        };
        request.run(&node.running().server.desk()).await.unwrap();
        let look = node.get("/v1/account").header("user-agent", &agent);
        look.bearer_auth(&life.person.tokens.access_token).send().await.unwrap();
        let words = [life.name.clone(), life.person.password.clone(), reason, agent];
        assert_eq!(left(&node, mode, &words).await, [] as [String; 0]);
        // What is there on purpose is found: the search works.
        assert!(!left(&node, mode, &life.secrets).await.is_empty());
        if let Some(heard) = heard {
            let heard = heard.lock().await;
            assert!(heard.len() > 1000, "nothing was overheard");
            assert!(words.iter().all(|word| !has(&heard, word)));
        }
    }
}

/// Every table of a database must be in one of the two lists, and every name in the lists must be a table.
fn assert_listed(found: &BTreeSet<String>, held: &[&str], adapter: &str) {
    let elsewhere: Vec<&str> = ELSEWHERE.iter().map(|(table, _)| *table).collect();
    for table in found {
        let places = [held, &elsewhere].concat().iter().filter(|name| *name == table).count();
        assert!(
            places == 1,
            "what does an erasure do with the table {table}? If it has rows about people, add it to \
             src/adapters/{adapter}/holdings.rs (and to the other adapter): an export shows it and an erasure deletes \
             it. If not, say in ELSEWHERE (src/subjects/holding.rs) what becomes of it. It stands in {places} lists."
        );
    }
    for table in held {
        assert!(
            found.contains(*table),
            "{table} is in src/adapters/{adapter}/holdings.rs, and there is no such table"
        );
    }
}

#[tokio::test]
async fn every_sqlite_table_says_what_an_erasure_does_with_it() {
    let node = Node::start(Mode::Embedded).await;
    let mut found = BTreeSet::new();
    let mut held: Vec<&str> = Vec::new();
    for entry in std::fs::read_dir(node.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sqlite") {
            continue;
        }
        let url = format!("sqlite://{}", path.display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let names: Vec<String> = sqlx::query_scalar(query).fetch_all(&mut connection).await.unwrap();
        found.extend(names.into_iter().filter(|name| name != MIGRATIONS));
    }
    for (_, tables) in sqlite::holdings::FILES {
        held.extend(tables.iter().map(|table| table.table));
    }
    assert_listed(&found, &held, "sqlite");
}

#[tokio::test]
async fn every_postgres_table_says_what_an_erasure_does_with_it() {
    let node = Node::start(Mode::Distributed).await;
    let held: Vec<&str> = postgres::holdings::TABLES.iter().map(|table| table.table).collect();
    let mut connection = sqlx::PgConnection::connect(&node.database()).await.unwrap();
    let query = "SELECT table_name::text FROM information_schema.tables \
                 WHERE table_schema = 'public' AND table_type = 'BASE TABLE'";
    let names: Vec<String> = sqlx::query_scalar(query).fetch_all(&mut connection).await.unwrap();
    let found: BTreeSet<String> = names.into_iter().filter(|name| name != MIGRATIONS).collect();
    assert_listed(&found, &held, "postgres");
    let of_sqlite = sqlite::holdings::FILES.iter().flat_map(|(_, tables)| tables.iter());
    let of_sqlite: BTreeSet<&str> = of_sqlite.map(|table| table.table).collect();
    assert_eq!(held.into_iter().collect::<BTreeSet<_>>(), of_sqlite, "both adapters hold the same");
}

#[test]
#[should_panic(expected = "what does an erasure do with the table passkeys?")]
fn a_table_that_was_forgotten_is_named() {
    assert_listed(&BTreeSet::from(["passkeys".to_owned()]), &[], "sqlite");
}
