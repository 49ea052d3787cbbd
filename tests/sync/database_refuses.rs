//! A Postgres that is there and does not let anybody do what they came for: it takes no writes, no connections, or not
//! so many. All of it passes, so all of it is answered with when to come back, and never as a defect.

use std::time::{Duration, Instant};

use lockstep_api::account::LoginStart;
use lockstep_client::crypto::{opaque::Login, os_random, password::Password};
use lockstep_events::StreamId;
use lockstepd::{adapters::postgres::Database, causes::with_causes};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::support::{
    device::{Device, entry},
    told::Told,
    wire::Reply,
};

/// A connection that has rested longer than this is asked whether it still works.
const RESTED: Duration = Duration::from_millis(1_200);

/// A database of a user who is no superuser, whom limits bind.
struct Base {
    admin: PgConnection,
    name: String,
    url: String,
}

impl Base {
    async fn make() -> Self {
        let root = std::env::var("LOCKSTEP_TEST_POSTGRES").expect("run cargo xtask test");
        let mut admin = PgConnection::connect(&root).await.unwrap();
        let name = format!("refusing_{}", Uuid::new_v4().simple());
        let role = "DO $$ BEGIN CREATE ROLE lockstep_server NOLOGIN; \
                    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";
        admin.execute(role).await.unwrap();
        let mut base = Self { admin, url: String::new(), name };
        base.does("CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'of-a-test'").await;
        base.does("GRANT lockstep_server TO {name}").await;
        base.does("CREATE DATABASE {name} OWNER {name}").await;
        let (_, host) = root.rsplit_once('@').unwrap();
        let (host, _) = host.split_once('/').unwrap();
        base.url = format!("postgres://{}:of-a-test@{host}/{}", base.name, base.name);
        base
    }

    async fn does(&mut self, sql: &str) {
        let sql = sql.replace("{name}", &self.name);
        self.admin.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    }

    /// Ends all connections of the server; returns when they are gone.
    async fn cut(&mut self) {
        self.does("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{name}'")
            .await;
    }

    fn told(&self) -> Told {
        let url = self.url.as_str();
        Told::start(&[("LOG", url), ("READS", url), ("CREDENTIALS", url)])
    }
}

impl Base {
    /// Ends the server. The database goes with its Postgres: to drop it would make that write out whatever other tests
    /// have just written.
    fn end(self, mut told: Told) {
        told.server.kill();
    }
}

async fn push(device: &Device) -> Reply {
    let item = device.edit(entry(), &[], b"short");
    device.post(&device.push_path(), &device.batch(vec![item])).await
}

async fn read(device: &Device) -> Reply {
    device.get(&format!("/v1/streams/{}/changes", StreamId::from(device.vault))).await
}

async fn begin_login(device: &Device) -> Reply {
    let password = Password::new("violet anchor mumbles seventeen".to_owned());
    let (_, message) = Login::start(&password, &mut os_random()).unwrap();
    let start = LoginStart { name: device.name.clone(), request: message.into(), device: None };
    device.post("/v1/sessions/start", &start).await
}

async fn begin_upload(device: &Device) -> Reply {
    let blobs = serde_json::json!({ "blobs": [{ "hash": "0".repeat(64), "size": 5000 }] });
    device.post(&format!("/v1/vaults/{}/blobs/prepare", device.vault), &blobs).await
}

fn come_back(reply: &Reply, code: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (503, code));
    assert_eq!(reply.header("retry-after"), Some("1"));
}

/// Everything works again.
async fn heals(device: &Device) {
    let until = Instant::now() + Duration::from_secs(30);
    while push(device).await.status != 200 {
        assert!(Instant::now() < until, "it is never taken again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(read(device).await.status, 200);
    assert_eq!(begin_login(device).await.status, 200);
}

fn nothing_was_a_defect(told: &Told) {
    for words in [" ERROR ", "a request failed"] {
        let lines = told.lines(words);
        assert!(lines.is_empty(), "{lines:?}");
    }
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_read_and_writers_are_told_to_come_back() {
    let mut base = Base::make().await;
    let told = base.told();
    let device = Device::register(told.server.addr).await;
    assert_eq!(push(&device).await.status, 200);
    base.does("ALTER DATABASE {name} SET default_transaction_read_only = on").await;
    base.cut().await;
    tokio::time::sleep(RESTED).await;

    for _ in 0..3 {
        come_back(&push(&device).await, "log_unavailable");
        come_back(&begin_login(&device).await, "credentials_unavailable");
        assert_eq!(read(&device).await.status, 200, "what is stored is served");
    }
    nothing_was_a_defect(&told);
    base.does("ALTER DATABASE {name} RESET default_transaction_read_only").await;
    base.cut().await;
    tokio::time::sleep(RESTED).await;
    heals(&device).await;
    base.end(told);
}

#[tokio::test]
async fn a_database_that_takes_no_connections_or_no_more_of_them_is_told_as_away() {
    let mut base = Base::make().await;
    let told = base.told();
    let device = Device::register(told.server.addr).await;
    let shut = [
        ("ALTER DATABASE {name} ALLOW_CONNECTIONS false", "ALTER DATABASE {name} ALLOW_CONNECTIONS true"),
        ("ALTER ROLE {name} CONNECTION LIMIT 0", "ALTER ROLE {name} CONNECTION LIMIT -1"),
        ("ALTER ROLE {name} NOLOGIN", "ALTER ROLE {name} LOGIN"),
    ];
    for (close, open) in shut {
        assert_eq!(push(&device).await.status, 200);
        base.does(close).await;
        base.cut().await;
        tokio::time::sleep(RESTED).await;
        // The store of blobs is there: the index of what lies in it is not. First, as a node that has heard nothing of the
        // log for ten seconds asks nobody.
        come_back(&begin_upload(&device).await, "credentials_unavailable");
        come_back(&push(&device).await, "log_unavailable");
        come_back(&begin_login(&device).await, "credentials_unavailable");
        let (status, ports) = told.health().await;
        assert_eq!(
            (status, &ports["log"], &ports["credentials"]),
            (503, &Value::from("down"), &Value::from("down")),
            "{close}"
        );
        base.does(open).await;
        heals(&device).await;
    }
    nothing_was_a_defect(&told);
    base.end(told);
}

#[tokio::test]
async fn a_server_whose_role_was_taken_away_says_so_once_and_goes_on_when_it_has_it_again() {
    let mut base = Base::make().await;
    let told = base.told();
    let device = Device::register(told.server.addr).await;
    assert_eq!(push(&device).await.status, 200);
    base.does("REVOKE lockstep_server FROM {name}").await;
    base.cut().await;
    tokio::time::sleep(RESTED).await;
    for _ in 0..3 {
        come_back(&begin_login(&device).await, "credentials_unavailable");
    }
    let said = told.says("connections to a database cannot begin").await;
    assert!(said.contains("permission denied to set role"), "{said}");
    assert_eq!(told.lines("cannot begin").len(), 1, "however often it was tried");
    nothing_was_a_defect(&told);
    base.does("GRANT lockstep_server TO {name}").await;
    heals(&device).await;
    told.says("connections to a database begin again").await;
    base.end(told);
}

#[tokio::test]
async fn after_all_connections_were_cut_while_they_rested_nobody_is_refused() {
    let mut base = Base::make().await;
    let told = base.told();
    let device = Device::register(told.server.addr).await;
    for _ in 0..3 {
        base.cut().await;
        tokio::time::sleep(RESTED).await;
        assert_eq!(push(&device).await.status, 200, "the connection that appends");
        assert_eq!(begin_login(&device).await.status, 200);
        assert_eq!(read(&device).await.status, 200);
    }
    base.end(told);
}

/// Nothing comes between the cut and the request: whichever it is, it is the first to notice.
#[tokio::test]
async fn after_all_connections_were_cut_a_moment_after_their_use_nobody_is_refused() {
    let mut base = Base::make().await;
    let told = base.told();
    let device = Device::register(told.server.addr).await;
    for first in 0..9 {
        for _ in 0..3 {
            assert_eq!(push(&device).await.status, 200);
            assert_eq!(begin_login(&device).await.status, 200);
            assert_eq!(read(&device).await.status, 200);
        }
        base.cut().await;
        for nth in first..first + 3 {
            let (what, reply) = match nth % 3 {
                0 => ("a push", push(&device).await),
                1 => ("a login", begin_login(&device).await),
                _ => ("a read", read(&device).await),
            };
            assert_eq!(reply.status, 200, "{what}: {}", String::from_utf8_lossy(&reply.body));
        }
    }
    nothing_was_a_defect(&told);
    base.end(told);
}

#[tokio::test]
async fn a_node_that_is_gone_without_a_word_keeps_no_connections_of_the_database_for_hours() {
    let base = Base::make().await;
    let database = Database::connect(&base.url, 2).await.unwrap();
    for (setting, seconds) in [("idle", "30"), ("interval", "10"), ("count", "3")] {
        let show = AssertSqlSafe(format!("SHOW tcp_keepalives_{setting}"));
        let shown: String = sqlx::query_scalar(show).fetch_one(database.pool()).await.unwrap();
        assert_eq!(shown, seconds, "{setting}");
    }
    database.close().await;
}

/// As a dump leaves it in another cluster: the role is there and has its rights, and nobody is in it.
#[tokio::test]
async fn what_only_looks_says_that_the_user_is_not_in_the_servers_role() {
    let mut base = Base::make().await;
    let mut told = base.told();
    told.server.kill();
    base.does("REVOKE lockstep_server FROM {name}").await;
    let refused = with_causes(&Database::form(&base.url).await.unwrap_err());
    let says = format!("GRANT lockstep_server TO \"{}\"", base.name);
    assert!(refused.contains(&says), "{refused}");
    base.does(&says).await;
    Database::form(&base.url).await.unwrap();
}

#[tokio::test]
async fn a_user_who_makes_no_roles_begins_with_one_that_was_made_for_it_and_is_told_where_there_is_none() {
    let mut base = Base::make().await;
    base.does("ALTER ROLE {name} NOCREATEROLE").await;
    base.does("REVOKE lockstep_server FROM {name}").await;
    let refused = with_causes(&Database::connect(&base.url, 1).await.unwrap_err());
    let says = format!("GRANT lockstep_server TO \"{}\"", base.name);
    assert!(refused.contains(&says) && refused.contains("CREATE ROLE lockstep_server NOLOGIN"), "{refused}");
    base.does(&says).await;
    let told = base.told();
    let device = Device::register(told.server.addr).await;
    assert_eq!(push(&device).await.status, 200);
    base.end(told);
}
