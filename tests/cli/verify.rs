//! `lockstepd log verify`: what becomes of a log in which somebody writes who may not.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};

use crate::{device::Device, mode::Mode, server::Server};

/// The exit code, and what it found.
fn verified(data: &Path) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstepd"));
    command.arg("--data").arg(data).args(["log", "verify", "--json"]).env_clear();
    let answer = command.output().unwrap();
    (answer.status.code(), serde_json::from_slice(&answer.stdout).unwrap())
}

fn tampered(data: &Path, how: &str) {
    let open = "DROP TRIGGER events_never_change; DROP TRIGGER events_never_go;";
    let statements = AssertSqlSafe(format!("{open} {how}"));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let url = format!("sqlite://{}", data.join("log.sqlite").display());
        let mut file = SqliteConnection::connect(&url).await.unwrap();
        file.execute(sqlx::raw_sql(statements)).await.unwrap();
        file.close().await.unwrap();
    });
}

#[test]
fn a_log_is_whole_until_somebody_changes_moves_or_takes_away_an_event() {
    let ways = [
        "SELECT 1",
        "DELETE FROM events WHERE position = 3",
        "DELETE FROM events WHERE position = (SELECT max(position) FROM events)",
        "UPDATE events SET chain = zeroblob(32) WHERE position = 3",
        "UPDATE events SET public = replace(public, 'device', 'thing') WHERE position > 2",
        "UPDATE events SET recorded_at = 1 WHERE position = 4",
        "UPDATE contents SET bytes = randomblob(length(bytes))",
    ];
    let mut server = Server::start_in(Mode::Embedded);
    let laptop = Device::registered(&server);
    for name in ["one", "two", "three"] {
        laptop.ok(&["add", name, "--set", "username=x"]);
    }
    server.kill();
    for (n, how) in ways.into_iter().enumerate() {
        let copy = tempfile::tempdir().unwrap();
        for file in fs::read_dir(server.data()).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
            }
        }
        tampered(copy.path(), how);
        let (code, found) = verified(copy.path());
        assert_eq!(code, Some(i32::from(n > 0)), "{how}: {found}");
        assert_eq!(found["faulty"].as_u64() == Some(0), n == 0, "{how}: {found}");
        assert!(n > 0 || found["contents"].as_u64().unwrap() >= 3, "{found}");
    }
}
