//! A move that is refused changes nothing, and where a server was moved from it can be taken back.

use std::{fs, path::Path, process::Command};

use crate::{
    device::{Answer, Device, answer},
    server::Server,
};

fn run(command: &mut Command) -> Answer {
    answer(&command.output().unwrap())
}

fn move_to(server: &Server, text: &str) -> Answer {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    run(server.operator().arg("move").arg("--to").arg(file.path()))
}

fn data(folder: &Path) -> String {
    format!("data = {folder:?}\n")
}

/// Does something to a database of a data folder.
fn altered(folder: &Path, file: &str, how: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use sqlx::{Connection, Executor};
        let url = format!("sqlite://{}", folder.join(file).display());
        let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
        database.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(how.to_owned()))).await.unwrap();
        database.close().await.unwrap();
    });
}

/// A server with a device that has written, stopped.
fn with_a_life() -> (Server, Device) {
    let mut server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "github", "--set", "username=ada"]);
    server.kill();
    (server, laptop)
}

#[test]
fn a_place_with_something_in_it_is_refused_and_unchanged_and_so_is_the_server_itself() {
    let (server, _) = with_a_life();
    let (other, _) = with_a_life();
    let audit = || run(other.operator().args(["log", "verify", "--json"])).out;
    let before = (audit(), fs::read(other.data().join("keys/server.json")).unwrap());
    let refused = move_to(&server, &data(other.data()));
    assert!(refused.code == 1 && refused.err.contains("the new place is not empty"), "{refused:?}");
    assert_eq!((audit(), fs::read(other.data().join("keys/server.json")).unwrap()), before);
    let same = move_to(&server, &data(server.data()));
    assert!(same.code == 1 && same.err.contains("there is nothing to move"), "{same:?}");
    let one = move_to(&server, &(data(server.data()) + "log = \"postgres://nobody:hunter2@127.0.0.1:1/x\""));
    assert!(one.code == 1 && one.err.contains("belong together"), "{one:?}");
    // Nothing of it stands in the way.
    assert_eq!(run(server.operator().args(["keys", "list"])).code, 0);
}

#[test]
fn a_file_that_does_not_say_where_the_data_go_is_refused_and_the_working_folder_stays_as_it_is() {
    let (server, _) = with_a_life();
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("new.toml"), "blobs = \"s3://lockstep\"\n").unwrap();
    let mut moving = server.operator();
    let refused = run(moving.args(["move", "--to", "new.toml"]).current_dir(here.path()));
    assert!(refused.code == 2 && refused.err.contains("new.toml names no `data`"), "{refused:?}");
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 1, "nothing was made beside it");
    assert_eq!(run(server.operator().args(["keys", "list"])).code, 0);
}

#[test]
fn a_server_that_runs_or_a_log_that_is_damaged_is_not_moved_and_no_password_is_shown() {
    let (mut server, _) = with_a_life();
    let folder = tempfile::tempdir().unwrap();
    server.start_again();
    let running = move_to(&server, &data(folder.path()));
    assert!(running.code == 1 && running.err.contains("another lockstepd is using"), "{running:?}");
    server.kill();
    let urls = "log = \"postgres://nobody:hunter2@127.0.0.1:1/x\"\ncredentials = \"postgres://nobody:hunter2@127.0.0.1:1/x\"\n";
    let away = move_to(&server, &(data(folder.path()) + urls));
    let said = away.err + &away.out;
    assert!(away.code == 1 && said.contains("the database of log, credentials cannot be opened"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");

    let damage =
        "DROP TRIGGER events_never_change; UPDATE events SET actor = NULL WHERE kind = 'account.created'";
    altered(server.data(), "log.sqlite", damage);
    let damaged = move_to(&server, &data(folder.path()));
    assert!(damaged.code == 1 && damaged.err.contains("the log is not whole (1 fault)"), "{damaged:?}");
    assert!(!folder.path().join("keys").exists() && !folder.path().join("tls").exists());
}

#[test]
fn a_server_moves_to_another_folder_whatever_the_environment_says_and_can_be_taken_back() {
    let (mut server, laptop) = with_a_life();
    let folder = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, data(folder.path())).unwrap();
    let mut command = server.operator();
    command.env("LOCKSTEP_KEY_FILE", server.data().join("keys/server.json"));
    let done = run(command.arg("move").arg("--to").arg(file.path()));
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("Next: lockstepd serve --config"), "{}", done.out);
    let keys = fs::metadata(folder.path().join("keys/server.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&keys.permissions()) & 0o777, 0o600);

    let refused = run(server.operator().args(["serve", "--listen", "127.0.0.1:0"]));
    let to = file.path().display().to_string();
    assert!(refused.code == 1 && refused.err.contains("was moved on 20"), "{refused:?}");
    assert!(refused.err.contains(&to) && refused.err.contains("lockstepd move --take-back"), "{refused:?}");
    let again = run(server.operator().arg("move").arg("--to").arg(file.path()));
    assert!(again.code == 1 && again.err.contains("this server was moved before"), "{again:?}");

    // Served there meanwhile, so the streams begin another life here.
    let home = server.go(folder, Vec::new());
    server.start_again();
    laptop.ok(&["add", "bank"]);
    server.kill();
    drop(server.go(home.0, home.1));
    let back = run(server.operator().args(["move", "--take-back"]));
    assert!(back.code == 0 && back.out.contains("lockstepd log restored"), "{back:?}");
    assert_eq!(run(server.operator().args(["move", "--take-back"])).code, 1, "once");
    assert_eq!(run(server.operator().args(["log", "restored"])).code, 0);
    server.start_again();
    laptop.ok(&["sync"]);
    laptop.ok(&["sync"]);
    let tablet = Device::logged_in(&server);
    assert_eq!(
        tablet.json(&["list"]).as_array().unwrap().len(),
        2,
        "what was written there was offered again"
    );
    let status = laptop.json(&["status"]);
    let alarms = status["alarm_list"].as_array().unwrap();
    assert!(
        alarms.iter().all(|alarm| alarm["kind"] == "reset"),
        "it is told of the other life alone: {status}"
    );
    assert_eq!(status["held"], serde_json::Value::Null);
}

/// What is kept in both places when a move is killed after its last row, and before or after its last word to the source.
const LAST_WORDS: [&str; 2] = [
    "UPDATE server_facts SET value = CAST(replace(CAST(value AS TEXT), 'true', 'false') AS BLOB) WHERE name = 'moved'",
    "",
];

/// What a data folder keeps about a move.
fn kept(folder: &Path, name: &str) -> serde_json::Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use sqlx::Connection;
        let url = format!("sqlite://{}", folder.join("credentials.sqlite").display());
        let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let fact = sqlx::query_scalar("SELECT value FROM server_facts WHERE name = ?").bind(name);
        let fact: Vec<u8> = fact.fetch_one(&mut database).await.unwrap();
        database.close().await.unwrap();
        serde_json::from_slice(&fact).unwrap()
    })
}

/// A move to a place is as if it had been cut off.
fn cut_off(server: &Server, place: &Path) {
    let audit = run(server.operator().args(["log", "verify", "--json"])).json();
    let id = kept(server.data(), "moved")["id"].clone();
    let fact = serde_json::json!({ "log_id": audit["log_id"], "id": id });
    let keep = format!("INSERT INTO server_facts VALUES ('arriving', CAST('{fact}' AS BLOB))");
    altered(place, "credentials.sqlite", &keep);
}

#[test]
fn a_move_that_lacks_its_last_word_alone_compares_everything_again_and_ends() {
    for last in LAST_WORDS {
        let (mut server, laptop) = with_a_life();
        let folder = tempfile::tempdir().unwrap();
        let to = data(folder.path());
        assert_eq!(move_to(&server, &to).code, 0);
        cut_off(&server, folder.path());
        altered(server.data(), "credentials.sqlite", last);

        // A column that no chain has.
        let change = "DROP TRIGGER events_never_change; UPDATE events SET correlation = zeroblob(16) WHERE position = 1";
        altered(folder.path(), "log.sqlite", change);
        let differs = move_to(&server, &to);
        assert!(differs.code == 1 && differs.err.contains("events did not arrive as it was"), "{differs:?}");
        assert_eq!(run(server.operator().args(["keys", "list"])).code, 0, "the old place serves");
        altered(folder.path(), "log.sqlite", "UPDATE events SET correlation = NULL WHERE position = 1");
        // What lies beside the log is filled again, whatever was there.
        altered(folder.path(), "credentials.sqlite", "DELETE FROM sessions; UPDATE names SET confirmed = 0");
        let done = move_to(&server, &to);
        assert_eq!(done.code, 0, "{}", done.err);

        server.go(folder, Vec::new());
        server.start_again();
        laptop.ok(&["sync"]);
        assert_eq!(laptop.json(&["status"])["alarms"], 0);
    }
}

#[test]
fn a_log_that_grew_after_its_move_was_cut_off_is_not_written_over() {
    let (mut server, laptop) = with_a_life();
    let folder = tempfile::tempdir().unwrap();
    let to = data(folder.path());
    assert_eq!(move_to(&server, &to).code, 0);
    cut_off(&server, folder.path());
    assert_eq!(run(server.operator().args(["move", "--take-back"])).code, 0);
    server.start_again();
    laptop.ok(&["add", "bank"]);
    server.kill();
    let refused = move_to(&server, &to);
    assert!(refused.code == 1 && refused.err.contains("choose an empty place"), "{refused:?}");
    let (other, _) = with_a_life();
    let refused = move_to(&other, &to);
    assert!(refused.code == 1 && refused.err.contains("the move of another server"), "{refused:?}");
}

#[test]
fn a_server_that_has_gone_to_another_place_is_not_carried_to_the_one_before() {
    let (server, _) = with_a_life();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(move_to(&server, &data(first.path())).code, 0);
    cut_off(&server, first.path());
    assert_eq!(run(server.operator().args(["move", "--take-back"])).code, 0);
    assert_eq!(move_to(&server, &data(second.path())).code, 0);
    let gone = kept(server.data(), "moved");
    for place in [first.path(), tempfile::tempdir().unwrap().path()] {
        let refused = move_to(&server, &data(place));
        assert!(refused.code == 1 && refused.err.contains("this server was moved before"), "{refused:?}");
        assert_eq!(kept(server.data(), "moved"), gone, "the old place does not serve beside the second");
    }
    let started = |folder: &tempfile::TempDir| run(Server::stopped(folder, &[])().args(["keys", "list"]));
    assert!(started(&first).err.contains("was cut off"));
    assert_eq!(started(&second).code, 0);
}

#[test]
fn where_a_server_was_moved_from_nothing_is_written_and_the_log_can_be_read() {
    let (server, _) = with_a_life();
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(move_to(&server, &data(folder.path())).code, 0);
    let audit = || run(server.operator().args(["log", "verify", "--json"])).out;
    let before = audit();
    let (writes, reads) =
        ([&["projections", "rebuild", "--all"][..], &["log", "restored"]], ["projections", "list"]);
    for command in writes {
        let refused = run(server.operator().args(command));
        assert!(refused.code == 1 && refused.err.contains("move --take-back"), "{command:?}: {refused:?}");
    }
    assert_eq!(run(server.operator().args(reads)).code, 0);
    assert_eq!(audit(), before);
    cut_off(&server, folder.path());
    let there = Server::stopped(&folder, &[]);
    for command in writes {
        let refused = run(there().args(command));
        assert!(refused.code == 1 && refused.err.contains("was cut off"), "{command:?}: {refused:?}");
    }
    assert_eq!(run(server.operator().args(["move", "--take-back"])).code, 0);
    for command in writes {
        let done = run(server.operator().args(command));
        assert_eq!(done.code, 0, "{}", done.err);
    }
}
