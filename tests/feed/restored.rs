//! A database that was dumped and put back in another cluster: the server's role is of the cluster, and in no dump.

use lockstepd::{adapters::postgres::Database, app};
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    services::{PostgresProcess, stores_in},
    support::{Mode, Node, Person},
};

/// Who may do what with each table and function, and with those that come.
async fn rights(url: &str) -> Vec<(String, Option<String>)> {
    let sorted =
        |acl: &str| format!("(SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest({acl}) a)");
    let all = format!(
        "SELECT relname::text, {} FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
         UNION ALL SELECT oid::regprocedure::text, {} FROM pg_proc WHERE pronamespace = 'public'::regnamespace
         UNION ALL SELECT 'new ' || defaclobjtype::text, {} FROM pg_default_acl ORDER BY 1",
        sorted("relacl"),
        sorted("proacl"),
        sorted("defaclacl")
    );
    let mut database = PgConnection::connect(url).await.unwrap();
    let rights = sqlx::query_as(sqlx::AssertSqlSafe(all)).fetch_all(&mut database).await.unwrap();
    database.close().await.unwrap();
    rights
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_put_back_in_another_cluster_is_served_with_the_rights_that_the_role_had() {
    let (old, new) = (PostgresProcess::start().await, PostgresProcess::start().await);
    let mut node = Node::start_with(Mode::Distributed, stores_in(&old.url())).await;
    let person = Person::register(&node).await;
    let epoch = person.epoch(&node).await;
    person.write(&node, epoch, &[vec![1; 64]]).await;
    let mut config = node.running().server.config.clone();
    let tail = node.running().server.log.tail().await.unwrap().position;
    node.stop().await;
    let before = rights(&old.url()).await;
    assert!(before.iter().any(|(name, who)| {
        name == "events" && who.as_ref().is_some_and(|who| who.contains("lockstep_server=r/"))
    }));

    let dump = old.path("dump.sql");
    old.run("pg_dump", &["-d", &old.url(), "-f", &dump]);
    // It says that there is no such role, and goes on.
    new.run("psql", &["-q", "-d", &new.url(), "-f", &dump]);
    for port in [&mut config.log, &mut config.reads, &mut config.credentials] {
        *port = new.url().as_str().into();
    }
    let running = app::start(config).await.unwrap();
    assert!(running.server.log.tail().await.unwrap().position >= tail);
    assert_eq!(rights(&new.url()).await, before);
    running.shutdown().await;
}

/// Answers as Postgres 16 does to the question who may take a role on: who made it is a member, and no more.
const AS_POSTGRES_16: &str =
    "CREATE FUNCTION pg_has_role(name, name, text) RETURNS boolean LANGUAGE sql AS $$
    SELECT $3 = 'MEMBER' OR pg_catalog.pg_has_role($1, $2, 'MEMBER') $$;
CREATE FUNCTION pg_has_role(name, oid, text) RETURNS boolean LANGUAGE sql AS $$
    SELECT $3 = 'MEMBER' OR pg_catalog.pg_has_role($1, $2, 'MEMBER') $$;
CREATE FUNCTION pg_has_role(oid, oid, text) RETURNS boolean LANGUAGE sql AS $$
    SELECT $3 = 'MEMBER' OR pg_catalog.pg_has_role($1, $2, 'MEMBER') $$;
CREATE FUNCTION current_setting(text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE $1 WHEN 'server_version_num' THEN '160000' ELSE pg_catalog.current_setting($1) END $$";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_made_the_role_and_is_no_superuser_may_take_it_on_in_every_postgres() {
    let cluster = PostgresProcess::start().await;
    let mut admin = PgConnection::connect(&cluster.url()).await.unwrap();
    for name in ["old", "new"] {
        let made = format!("CREATE ROLE {name} LOGIN CREATEROLE");
        admin.execute(sqlx::AssertSqlSafe(made)).await.unwrap();
        admin.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} OWNER {name}"))).await.unwrap();
        let base = cluster.url().trim_end_matches("postgres").to_owned() + name;
        if name == "new" {
            admin.execute("ALTER ROLE new SET search_path = public, pg_catalog").await.unwrap();
            let mut within = PgConnection::connect(&base).await.unwrap();
            within.execute(AS_POSTGRES_16).await.unwrap();
            within.close().await.unwrap();
        }
        let url = base.replace("postgres@", &format!("{name}@"));
        // The first start, the next one, and the one after a start that went no further than the tables.
        for taken_away in [false, false, true] {
            if taken_away {
                let taken = format!("REVOKE lockstep_server FROM {name}");
                admin.execute(sqlx::AssertSqlSafe(taken)).await.unwrap();
            }
            let database = Database::connect(&url, 1).await.unwrap();
            let user: String =
                sqlx::query_scalar("SELECT current_user::text").fetch_one(database.pool()).await.unwrap();
            assert_eq!(user, "lockstep_server", "{name}");
            database.close().await;
        }
    }
}
