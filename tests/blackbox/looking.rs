//! Commands that only look: beside a server that runs, at one that is stopped, and at stores of another program. They change
//! nothing, and take nothing from whoever is at work.

use std::process::Output;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use crate::{
    process::{command, complaint, operator},
    support::{Mode, Node, Person},
};

in_both_modes! {
    many threads:
    commands_that_look_leave_tables_of_another_program_as_they_are,
}

/// Files with tables that are looked at.
const FILES: [&str; 3] = ["log.sqlite", "reads.sqlite", "operations.sqlite"];
const LOOKING: [&[&str]; 5] = [
    &["log", "verify"],
    &["log", "export"],
    &["blobs", "verify"],
    &["projections", "list"],
    &["projections", "rebuild", "--all", "--dry-run"],
];

/// Runs statements in every database of a stopped server, and tells which migrations each has then.
async fn in_all(node: &Node, mode: Mode, sql: &str) -> Vec<Vec<i64>> {
    const DONE: &str = "SELECT version FROM _sqlx_migrations ORDER BY version";
    let sql = || AssertSqlSafe(sql.to_owned());
    if mode == Mode::Distributed {
        let mut database = PgConnection::connect(&node.database()).await.unwrap();
        database.execute(sqlx::raw_sql(sql())).await.unwrap();
        return vec![sqlx::query_scalar(DONE).fetch_all(&mut database).await.unwrap()];
    }
    let mut done = Vec::new();
    for file in FILES {
        let url = format!("sqlite://{}", node.data().join(file).display());
        let mut database = SqliteConnection::connect(&url).await.unwrap();
        database.execute(sqlx::raw_sql(sql())).await.unwrap();
        done.push(sqlx::query_scalar(DONE).fetch_all(&mut database).await.unwrap());
        database.close().await.unwrap();
    }
    done
}

fn is_well(answer: &Output) -> bool {
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    true
}

async fn commands_that_look_leave_tables_of_another_program_as_they_are(mode: Mode) {
    let mut node = Node::start(mode).await;
    Person::register(&node).await;
    let operator = operator(&node);
    assert!(LOOKING.iter().all(|command| is_well(&operator(command))), "beside a server");
    node.stop().await;
    assert!(LOOKING.iter().all(|command| is_well(&operator(command))), "without one");

    // As a program left them that did not know the last two migrations.
    let older = in_all(&node, mode, "DELETE FROM _sqlx_migrations WHERE version > 21").await;
    for command in LOOKING {
        // A file has migrations of its own: those of the log are all done.
        if mode == Mode::Embedded && command[0] == "log" {
            assert!(is_well(&operator(command)));
            continue;
        }
        let said = complaint(&operator(command));
        assert!(
            said.contains("is of an older program, and this command changes nothing"),
            "{command:?}: {said}"
        );
    }
    assert_eq!(in_all(&node, mode, "SELECT 1").await, older);

    let sum = if mode == Mode::Embedded { "x''" } else { "''" };
    let newer = format!("INSERT INTO _sqlx_migrations VALUES (9999, 'later', DEFAULT, true, {sum}, 0)");
    let newer = if mode == Mode::Embedded { newer.replace("DEFAULT", "'2026-11-27'") } else { newer };
    let newer = in_all(&node, mode, &newer).await;
    for command in LOOKING {
        let said = complaint(&operator(command));
        assert!(said.contains("is of a newer program: use that one"), "{command:?}: {said}");
    }
    assert_eq!(in_all(&node, mode, "SELECT 1").await, newer);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_has_not_finished_writing_is_left_to_it_by_every_command() {
    let mut node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    let unfinished = node.data().join("blobs/unfinished/of-the-server");
    std::fs::write(&unfinished, b"half of").unwrap();
    let (account, out) = (person.account.to_string(), tempfile::tempdir().unwrap());
    let (export, erase) =
        (out.path().join("export.jsonl"), ["subject", "erase", &account, "--reason", "asked"]);
    let export = ["subject", "export", &account, "--out", export.to_str().unwrap()];
    for args in [&["blobs", "verify"][..], &export, &erase] {
        assert!(is_well(&command(&node.data()).args(args).output().unwrap()));
        assert!(unfinished.exists(), "{args:?}");
    }
    node.restart().await;
    assert!(!unfinished.exists(), "nobody finishes it any more");
}
