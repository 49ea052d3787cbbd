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
    no_other_command_brings_tables_of_another_program_to_a_form_of_its_own,
    keys_that_cannot_be_looked_at_are_not_said_to_be_lost,
}

/// Files with tables.
const FILES: [&str; 4] = ["log.sqlite", "reads.sqlite", "operations.sqlite", "credentials.sqlite"];
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

    let newer = in_all(&node, mode, later(mode)).await;
    for command in LOOKING {
        let said = complaint(&operator(command));
        assert!(said.contains("is of a newer program: use that one"), "{command:?}: {said}");
    }
    assert_eq!(in_all(&node, mode, "SELECT 1").await, newer);
}

/// As a later program notes what it has done.
fn later(mode: Mode) -> &'static str {
    match mode {
        Mode::Embedded => "INSERT INTO _sqlx_migrations VALUES (9999, 'later', '2026-11-27', true, x'', 0)",
        _ => "INSERT INTO _sqlx_migrations VALUES (9999, 'later', DEFAULT, true, '', 0)",
    }
}

async fn no_other_command_brings_tables_of_another_program_to_a_form_of_its_own(mode: Mode) {
    let mut node = Node::start(mode).await;
    let account = Person::register(&node).await.account.to_string();
    let (operator, place) = (operator(&node), tempfile::tempdir().unwrap());
    node.stop().await;
    let file = place.path().join("new.toml");
    std::fs::write(&file, format!("data = {:?}", place.path().join("new"))).unwrap();
    let commands: [&[&str]; 10] = [
        &["keys", "list"],
        &["keys", "rotate"],
        &["keys", "revoke", "nope"],
        &["admin", "bootstrap"],
        &["subject", "export", &account, "--reason=asked"],
        &["subject", "erase", &account, "--reason=asked", "--dry-run"],
        &["projections", "rebuild", "--all"],
        &["log", "restored"],
        &["move", "--to", file.to_str().unwrap()],
        &["move", "--take-back"],
    ];
    // A server that ended in this process takes its time to close its connections to a database.
    let refused = async |command: &[&str]| {
        for _ in 0..100 {
            let answer = operator(command);
            let said = complaint(&answer);
            if !said.contains("stop every node first") {
                return (said, answer.status.code());
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("connections of a server are never closed")
    };
    let older = in_all(&node, mode, "DELETE FROM _sqlx_migrations WHERE version > 21").await;
    for command in commands {
        let (said, code) = refused(command).await;
        assert!(said.contains("is of an older program") && code == Some(1), "{command:?}: {said}");
        assert_eq!(in_all(&node, mode, "SELECT 1").await, older, "{command:?}");
    }
    let newer = in_all(&node, mode, later(mode)).await;
    for command in commands.into_iter().chain([&["serve"][..]]) {
        let (said, code) = refused(command).await;
        assert!(
            said.contains("is of a newer program: use that one") && code == Some(1),
            "{command:?}: {said}"
        );
    }
    assert_eq!(in_all(&node, mode, "SELECT 1").await, newer);
}

/// As a folder is that another user owns. Whoever tests may look into that one, and into no file as if it were a folder.
async fn keys_that_cannot_be_looked_at_are_not_said_to_be_lost(mode: Mode) {
    let mut node = Node::start(mode).await;
    Person::register(&node).await;
    let (data, place) = (node.data(), node.place());
    node.stop().await;
    for args in [&["serve"][..], &["keys", "list"], &["blobs", "verify"], &["move", "--take-back"]] {
        let mut command = command(&data);
        for option in ["LOCKSTEP_LOG", "LOCKSTEP_READS", "LOCKSTEP_CREDENTIALS"] {
            command.envs(place.stores.iter().map(|(database, _)| (option, database)));
        }
        let keys = data.join("log.sqlite/server.json");
        std::fs::OpenOptions::new().create(true).append(true).open(data.join("log.sqlite")).unwrap();
        let answer = command.env("LOCKSTEP_KEY_FILE", &keys).args(args).output().unwrap();
        let said = complaint(&answer);
        assert!(
            said.contains(&format!("cannot use {}: Not a directory", keys.display())),
            "{args:?}: {said}"
        );
        assert_eq!(answer.status.code(), Some(1));
    }
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
    let export = ["subject", "export", &account, "--reason", "asked", "--out", export.to_str().unwrap()];
    for args in [&["blobs", "verify"][..], &export, &erase] {
        assert!(is_well(&command(&node.data()).args(args).output().unwrap()));
        assert!(unfinished.exists(), "{args:?}");
    }
    node.restart().await;
    assert!(!unfinished.exists(), "nobody finishes it any more");
}
