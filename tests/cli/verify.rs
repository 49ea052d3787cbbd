//! `lockstepd log verify`, and `projections rebuild`: what becomes of a log in which somebody writes who may not.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use crate::{device::Device, mode::Mode, server::Server};

in_both_modes! {
    read_models_are_never_made_anew_of_a_log_that_is_damaged_and_the_old_ones_stay,
    a_log_is_whole_until_somebody_changes_moves_or_takes_away_an_event,
    rows_that_belong_to_no_event_of_the_log_are_found,
    an_event_that_cannot_be_read_is_named_and_the_rest_is_read,
}

/// The exit code, and what it found.
fn verified(data: &Path) -> (Option<i32>, Value) {
    found(&log(data, &["verify", "--json"]))
}

pub fn found(answer: &Output) -> (Option<i32>, Value) {
    (answer.status.code(), serde_json::from_slice(&answer.stdout).unwrap())
}

/// `lockstepd log …`
fn log(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstepd"));
    command.arg("--data").arg(data).arg("log").args(args).env_clear().output().unwrap()
}

/// Takes away the last event, and every sign of it in the log.
const CUT: &str = "DELETE FROM contents WHERE (stream, hash) IN \
        (SELECT stream, content_hash FROM events WHERE position = (SELECT max(position) FROM events)); \
    DELETE FROM events WHERE position = (SELECT max(position) FROM events); \
    UPDATE streams SET seq = (SELECT max(seq) FROM events e WHERE e.stream = streams.stream), \
        chain = (SELECT chain FROM events e WHERE e.stream = streams.stream ORDER BY seq DESC LIMIT 1)";

fn tampered(data: &Path, how: &str) {
    let open = "DROP TRIGGER IF EXISTS events_never_change; DROP TRIGGER IF EXISTS events_never_go; \
        DROP TRIGGER IF EXISTS streams_never_go;";
    let statements = AssertSqlSafe(format!("{open} {how}"));
    wait(async {
        let url = format!("sqlite://{}", data.join("log.sqlite").display());
        let mut file = SqliteConnection::connect(&url).await.unwrap();
        file.execute(sqlx::raw_sql(statements)).await.unwrap();
        file.close().await.unwrap();
    });
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

fn copy_of(server: &Server) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("keys")).unwrap();
    for folder in ["", "keys"] {
        for file in fs::read_dir(server.data().join(folder)).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), copy.path().join(folder).join(file.file_name())).unwrap();
            }
        }
    }
    copy
}

/// A copy of the stores of a server that does not run, in whose log somebody has written.
pub struct Damaged {
    folder: tempfile::TempDir,
    options: Vec<(String, String)>,
}

impl Damaged {
    pub fn copy(server: &Server, how: &str) -> Self {
        let (folder, mut options) = (copy_of(server), server.options().to_vec());
        let Some((_, database)) = options.iter().find(|(option, _)| option == "LOCKSTEP_LOG").cloned() else {
            tampered(folder.path(), how);
            return Self { folder, options };
        };
        let copy = wait(copied(&database, how));
        for (_, url) in options.iter_mut().filter(|(_, url)| *url == database) {
            url.clone_from(&copy);
        }
        Self { folder, options }
    }

    /// `lockstepd …`
    pub fn lockstepd(&self, args: &[&str]) -> Output {
        let mut command = Server::stopped(&self.folder, &self.options)();
        command.args(args).output().unwrap()
    }
}

/// The URL of a copy of a database that nobody is connected to any more.
pub async fn copied(database: &str, how: &str) -> String {
    let (server, name) = database.rsplit_once('/').unwrap();
    let copy = format!("damaged-{}", uuid::Uuid::new_v4());
    let mut admin = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    let statement = AssertSqlSafe(format!("CREATE DATABASE \"{copy}\" TEMPLATE \"{name}\""));
    admin.execute(sqlx::raw_sql(statement)).await.unwrap();
    let url = format!("{server}/{copy}");
    let mut log = PgConnection::connect(&url).await.unwrap();
    // No trigger stops whoever may do this.
    let statements = AssertSqlSafe(format!("SET session_replication_role = replica; {how}"));
    log.execute(sqlx::raw_sql(statements)).await.unwrap();
    url
}

#[test]
fn a_log_whose_end_is_gone_is_found_by_what_this_server_has_served_of_it() {
    let mut server = Server::start_in(Mode::Embedded);
    Device::registered(&server).ok(&["add", "one", "--set", "username=x"]);
    server.kill();
    // A server that starts notes how far it has read.
    server.start_again();
    server.kill();
    let end = verified(server.data()).1["position"].as_u64().unwrap();
    for other in ["reads.sqlite", "keys/shred-scan.json"] {
        let copy = copy_of(&server);
        tampered(copy.path(), CUT);
        fs::remove_file(copy.path().join(other)).unwrap();
        let (code, found) = verified(copy.path());
        assert_eq!((code, &found["faults"]), (Some(1), &serde_json::json!([])), "{other}: {found}");
        let said = format!("the log ends at {}, and this server has served up to {end} of it", end - 1);
        assert!(found["differs"][0].as_str().unwrap().starts_with(&said), "{other}: {found}");
        if other == "reads.sqlite" {
            assert!(log(copy.path(), &["restored"]).status.success());
            assert_eq!(verified(copy.path()).0, Some(0), "the operator has said so");
        }
    }
}

#[test]
fn an_audit_says_of_a_later_one_whether_the_log_was_written_anew_between() {
    let mut server = Server::start_in(Mode::Embedded);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "one", "--set", "username=x"]);
    let kept = tempfile::tempdir().unwrap();
    let file = kept.path().join("audit.json");
    let first = log(server.data(), &["verify", "--json"]).stdout;
    fs::write(&file, &first).unwrap();
    let since = |data: &Path| log(data, &["verify", "--since", file.to_str().unwrap()]);
    let hash = |found: &[u8]| serde_json::from_slice::<Value>(found).unwrap()["hash"].clone();
    laptop.ok(&["add", "two", "--set", "username=x"]);
    let later = since(server.data());
    let said = String::from_utf8(later.stdout).unwrap();
    assert!(later.status.success(), "{said}");
    assert_ne!(hash(&log(server.data(), &["verify", "--json"]).stdout), hash(&first));

    // The last event of the audit is taken away; what follows in its place is as whole as what was there.
    server.kill();
    let audited = serde_json::from_slice::<Value>(&first).unwrap()["position"].as_u64().unwrap();
    while verified(server.data()).1["position"].as_u64().unwrap() >= audited {
        tampered(server.data(), CUT);
    }
    assert!(String::from_utf8(since(server.data()).stdout).unwrap().contains("that audit read it up to"));
    assert!(log(server.data(), &["restored"]).status.success());
    for reads in ["reads.sqlite", "reads.sqlite-wal", "reads.sqlite-shm"] {
        let _ = fs::remove_file(server.data().join(reads));
    }
    server.start_again();
    for name in ["three", "four", "five"] {
        laptop.ok(&["add", name, "--set", "username=x"]);
    }
    let (code, found) = verified(server.data());
    assert_eq!(code, Some(0), "by itself it is whole: {found}");
    let refused = since(server.data());
    let said = String::from_utf8(refused.stdout).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("its stream was rewritten at or before this seq since that audit"), "{said}");

    let changed = String::from_utf8(first).unwrap().replacen("\"seq\":1", "\"seq\":9", 1);
    fs::write(&file, changed).unwrap();
    let refused = String::from_utf8(since(server.data()).stderr).unwrap();
    assert!(refused.contains("was changed: its hash is another one"), "{refused}");
}

/// In the words of every database: the hash of the event before it in the place of its own.
const ANOTHER_CHAIN: &str =
    "UPDATE events SET chain = (SELECT chain FROM events WHERE position = 2) WHERE position = 3";
const ANOTHER_TEXT: &str = "UPDATE events SET public = replace(public, 'device', 'thing') WHERE position > 2";

fn read_models_are_never_made_anew_of_a_log_that_is_damaged_and_the_old_ones_stay(mode: Mode) {
    let mut server = Server::start_in(mode);
    Device::registered(&server).ok(&["add", "one", "--set", "username=x"]);
    server.kill();
    for (how, model) in [
        (ANOTHER_TEXT, "accounts"),
        (ANOTHER_CHAIN, "devices"),
        ("DELETE FROM events WHERE stream_kind = 2 AND seq = 1", "entries"),
    ] {
        let copy = Damaged::copy(&server, how);
        let listed = copy.lockstepd(&["projections", "list", "--json"]).stdout;
        let answer = copy.lockstepd(&["projections", "rebuild", model]);
        let said = String::from_utf8(answer.stderr).unwrap();
        assert_eq!(answer.status.code(), Some(1), "{how}: {said}");
        let (_, found) = found(&copy.lockstepd(&["log", "verify", "--json"]));
        let named = found["faults"].as_array().unwrap().iter().any(|fault| {
            let (position, stream) = (&fault["position"], fault["stream"].as_str().unwrap());
            said.contains(&format!("at position {position} ({stream} at {})", fault["seq"]))
        });
        assert!(named && said.contains("`lockstepd log verify`"), "{how}: {said} {found}");
        let live = |list: &[u8]| {
            let list: Value = serde_json::from_slice(list).unwrap();
            let row = |row: &Value| (row["generation"].clone(), row["position"].clone(), row["rows"].clone());
            list.as_array().unwrap().iter().map(row).collect::<Vec<_>>()
        };
        assert_eq!(live(&copy.lockstepd(&["projections", "list", "--json"]).stdout), live(&listed), "{how}");
    }
}

/// Two entries, a sealed reason, and a server that has stopped.
pub fn with_a_reason(mode: Mode) -> Server {
    let mut server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    for name in ["one", "two"] {
        laptop.ok(&["add", name, "--set", "username=x"]);
    }
    laptop.ok(&["admin", "bootstrap", server.bootstrap_token().trim()]);
    laptop.ok(&["admin", "user", "show", crate::device::NAME, "--reason=asked by telephone"]);
    server.kill();
    server
}

fn rows_that_belong_to_no_event_of_the_log_are_found(mode: Mode) {
    let (content_hash, ciphertext) =
        ("an event whose content_hash is not that of its version", "a ciphertext that no event names");
    let server = with_a_reason(mode);
    for (how, what, alone) in [
        (
            "INSERT INTO events (position, recorded_at, seq, stream, event_id, stream_kind, schema, kind, public, \
                body_hash, chain) SELECT -5, recorded_at, -5, stream, stream, stream_kind, schema, kind, public, \
                body_hash, chain FROM events WHERE position = 3",
            "-5: an event before the first position",
            true,
        ),
        ("UPDATE events SET content_hash = chain WHERE kind = 'account.created'", content_hash, true),
        ("UPDATE events SET content_hash = chain WHERE kind = 'entry.version_added'", content_hash, false),
        ("UPDATE events SET content_hash = NULL WHERE kind = 'entry.version_added'", ciphertext, false),
        (
            "INSERT INTO contents (stream, hash, bytes) SELECT stream, chain, chain FROM events WHERE position = 3",
            ciphertext,
            true,
        ),
        (
            "INSERT INTO event_sealed (event_id, subject, purpose, period, bytes) \
                SELECT stream, stream, 'activity', '', chain FROM events WHERE position = 3",
            "a sealed part of no event",
            true,
        ),
        (
            "UPDATE streams SET stream = (SELECT event_id FROM events WHERE position = 3) \
                WHERE stream = (SELECT stream FROM events WHERE position = 3)",
            "a stream without events",
            false,
        ),
    ] {
        let copy = Damaged::copy(&server, how);
        let (code, found) = found(&copy.lockstepd(&["log", "verify", "--json"]));
        let rows = found["rows"].as_array().unwrap();
        let is_found = rows.iter().any(|row| row.as_str().unwrap().ends_with(what));
        assert!(code == Some(1) && is_found, "{how}: {found}");
        if alone {
            assert_eq!((rows.len(), found["faulty"].as_u64()), (1, Some(1)), "{how}: {found}");
            let said = copy.lockstepd(&["log", "verify"]);
            let (out, err) =
                (String::from_utf8(said.stdout).unwrap(), String::from_utf8(said.stderr).unwrap());
            assert!(
                out.contains(what) && err.contains("the log is not whole: 1 fault\n"),
                "{how}: {out} {err}"
            );
        }
    }
}

fn an_event_that_cannot_be_read_is_named_and_the_rest_is_read(mode: Mode) {
    let server = with_a_reason(mode);
    let (_, whole) = found(&Damaged::copy(&server, "SELECT 1").lockstepd(&["log", "verify", "--json"]));
    let end = whole["position"].as_u64().unwrap();
    let last = "(SELECT max(position) FROM events)";
    let mut ways = vec![
        ("UPDATE events SET chain = substr(chain, 1, 2) WHERE position = 3".to_owned(), vec![3..=3]),
        (
            "UPDATE events SET chain = substr(chain, 1, 2) WHERE position IN (2, 3, 6)".to_owned(),
            vec![2..=3, 6..=6],
        ),
        (format!("UPDATE events SET chain = substr(chain, 1, 2) WHERE position = {last}"), vec![end..=end]),
    ];
    if mode == Mode::Embedded {
        // The other database has columns of 16 bytes for these.
        for column in ["actor", "stream", "subject"] {
            ways.push((format!("UPDATE events SET {column} = x'0102' WHERE position = 3"), vec![3..=3]));
        }
    }
    for (how, places) in ways {
        let (code, found) = found(&Damaged::copy(&server, &how).lockstepd(&["log", "verify", "--json"]));
        let said = |row: &Value| row.as_str().unwrap().split(": ").next().unwrap().to_owned();
        let rows: Vec<String> = found["rows"].as_array().unwrap().iter().map(said).collect();
        let named = |place: &std::ops::RangeInclusive<u64>| match (place.start(), place.end()) {
            (from, to) if from == to => format!("position {to}"),
            (from, to) => format!("positions {from} to {to}"),
        };
        for place in &places {
            assert!(rows.contains(&named(place)), "{how}: {found}");
        }
        let unread: u64 = places.into_iter().map(|place| place.count() as u64).sum();
        assert_eq!((code, found["events"].as_u64()), (Some(1), Some(end - unread)), "{how}: {found}");
    }
}

fn a_log_is_whole_until_somebody_changes_moves_or_takes_away_an_event(mode: Mode) {
    let ways = [
        "SELECT 1",
        "DELETE FROM events WHERE position = 3",
        "DELETE FROM events WHERE position = (SELECT max(position) FROM events)",
        ANOTHER_CHAIN,
        ANOTHER_TEXT,
        "UPDATE events SET recorded_at = 1 WHERE position = 4",
        "UPDATE contents SET bytes = substr(bytes, 2)",
        "UPDATE event_sealed SET bytes = substr(bytes, 2)",
        "UPDATE events SET stream_kind = CASE stream_kind WHEN 1 THEN 2 ELSE 1 END \
            WHERE position = (SELECT max(position) FROM events)",
        "UPDATE streams SET kind = CASE kind WHEN 1 THEN 2 ELSE 1 END \
            WHERE stream = (SELECT stream FROM events WHERE position = 3)",
        "DELETE FROM streams WHERE stream = (SELECT stream FROM events WHERE position = 3)",
        "UPDATE events SET body_hash = chain WHERE position = 3",
        "UPDATE events SET body_hash = chain WHERE kind = 'entry.version_added'",
    ];
    let mut server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    for name in ["one", "two", "three"] {
        laptop.ok(&["add", name, "--set", "username=x"]);
    }
    laptop.ok(&["admin", "bootstrap", server.bootstrap_token().trim()]);
    laptop.ok(&["admin", "user", "show", crate::device::NAME, "--reason=asked by telephone"]);
    server.kill();
    // A server that starts notes how far it has read.
    server.start_again();
    server.kill();
    for (n, how) in ways.into_iter().enumerate() {
        let (code, found) = found(&Damaged::copy(&server, how).lockstepd(&["log", "verify", "--json"]));
        assert_eq!(code, Some(i32::from(n > 0)), "{how}: {found}");
        let is_clean = found["faulty"].as_u64() == Some(0) && found["differs"] == serde_json::json!([]);
        assert_eq!(is_clean, n == 0, "{how}: {found}");
        assert!(n > 0 || found["contents"].as_u64().unwrap() >= 3, "{found}");
        assert!(n > 0 || found["sealed"].as_u64().unwrap() >= 1, "{found}");
    }
}

#[test]
fn a_log_that_is_whole_is_said_to_be_so_unless_nothing_is_to_be_said() {
    let mut server = Server::start_in(Mode::Embedded);
    Device::registered(&server).ok(&["add", "one", "--set", "username=x"]);
    server.kill();
    let said = |data: &Path, args: &[&str]| {
        let answer = log(data, args);
        (answer.status.code(), String::from_utf8(answer.stdout).unwrap())
    };
    let (_, found) = verified(server.data());
    let (code, text) = said(server.data(), &["verify"]);
    let verdict = format!(
        "Log {} is whole, SHA-256 of where it and its streams end: {}",
        found["log_id"].as_str().unwrap(),
        found["hash"].as_str().unwrap()
    );
    assert!(code == Some(0) && text.lines().last() == Some(&verdict), "{code:?} {text}");
    assert!(text.starts_with(&format!("{} events of ", found["events"])), "{text}");
    assert_eq!(said(server.data(), &["verify", "--quiet"]), (Some(0), String::new()));
    tampered(server.data(), "UPDATE events SET chain = zeroblob(32) WHERE position = 2");
    let (code, text) = said(server.data(), &["verify", "--quiet"]);
    assert!(code == Some(1) && text.starts_with("2 (") && !text.contains("whole"), "{code:?} {text}");
}
