//! No event, no act: while the log takes nothing, an administrator does and sees nothing.

use lockstep_events::event::Role;
use lockstepd::config::Layer;
use reqwest::StatusCode;
use sqlx::{Connection, Executor};

use crate::{
    in_both_modes,
    office::{first_admin, why},
    support::{Mode, Node, Person},
};

in_both_modes! {
    what_cannot_be_written_down_is_neither_done_nor_shown;
}

/// Holds the log's write lock as long as it lives: the log can be read and takes nothing.
enum Held {
    Sqlite(sqlx::SqliteConnection),
    Postgres(sqlx::PgConnection),
}

impl Held {
    async fn take(node: &Node, mode: Mode) -> Self {
        match mode {
            Mode::Embedded => {
                let path = node.running().server.config.data.join("log.sqlite");
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
                Self::Sqlite(connection)
            }
            Mode::Distributed | Mode::ThreeNodes => {
                let url = node.running().server.config.log.expose().to_owned();
                let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
                connection.execute("BEGIN; LOCK TABLE events IN SHARE MODE").await.unwrap();
                Self::Postgres(connection)
            }
        }
    }

    async fn release(self) {
        match self {
            Self::Sqlite(mut connection) => drop(connection.execute("ROLLBACK").await.unwrap()),
            Self::Postgres(mut connection) => drop(connection.execute("ROLLBACK").await.unwrap()),
        }
    }
}

async fn what_cannot_be_written_down_is_neither_done_nor_shown(mode: Mode) {
    // Long enough that every request is told what became of it: one that is cut off is not known to have failed.
    let patient = Layer { request_timeout_s: Some(120), ..Layer::default() };
    let node = Node::start_with(mode, patient).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    let of = format!("/v1/admin/accounts/{}", ada.account);
    let held = Held::take(&node, mode).await;
    let why = why();
    let (seen, listed, done) = tokio::join!(
        admin.looks(&node, &of),
        admin.looks(&node, "/v1/admin/accounts"),
        admin.act(&node, ada.account, "disable", &why),
    );
    for answer in [seen, listed, done] {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let text = answer.text().await.unwrap();
        assert!(!text.contains(&ada.account.to_string()), "{text}");
    }
    held.release().await;
    assert_eq!(ada.get(&node, "/v1/account").await.status(), StatusCode::OK, "it was not disabled");
    let activity = ada.activity(&node).await;
    assert!(activity.iter().all(|item| item.actor == Some(ada.account)), "{activity:?}");
    // And with the log as before everything is done and written.
    assert_eq!(admin.looks(&node, &of).await.status(), StatusCode::OK);
    admin.grants(&node, ada.account, Role::Auditor).await;
}
