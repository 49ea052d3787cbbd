//! A whole server goes from one set of stores to another, and its clients notice nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lockstepd::{
    adapters::s3::{S3Blobs, S3Options},
    blobs::BlobStore,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    access::code,
    device::{Answer, Device, NAME, answer},
    mode::Mode,
    server::Server,
};

/// The bucket that these options of a server name.
pub fn bucket(options: &[(String, String)]) -> S3Blobs {
    let find = |name: &str| options.iter().find(|(option, _)| option.ends_with(name)).unwrap().1.clone();
    S3Blobs::new(&S3Options {
        endpoint: find("S3_ENDPOINT"),
        public_endpoint: String::new(),
        region: "us-east-1".to_owned(),
        bucket: find("BLOBS").trim_start_matches("s3://").to_owned(),
        access_key: find("S3_ACCESS_KEY"),
        secret_key: find("S3_SECRET_KEY"),
    })
}

/// A new place: options that a file names, and a data folder of its own.
struct Place {
    data: TempDir,
    options: Vec<(String, String)>,
}

impl Place {
    fn new(options: Vec<(String, String)>) -> Self {
        Self { data: tempfile::tempdir().unwrap(), options }
    }

    fn embedded() -> Self {
        Self::new(Vec::new())
    }

    fn distributed() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self::new(runtime.block_on(Mode::Distributed.options()))
    }

    /// The same, with the blob store of another place.
    fn with_blobs_of(mut self, other: &[(String, String)]) -> Self {
        let is_about_blobs = |name: &str| name.contains("BLOBS") || name.contains("S3_");
        self.options.retain(|(name, _)| !is_about_blobs(name));
        self.options.extend(other.iter().filter(|(name, _)| is_about_blobs(name)).cloned());
        self
    }

    /// The file that names it.
    fn file(&self) -> PathBuf {
        let path = self.data.path().with_extension("toml");
        let line = |(name, value): &(String, String)| {
            let value =
                value.parse::<u64>().map_or_else(|_| format!("{value:?}"), |number| number.to_string());
            format!("{} = {value}\n", name.trim_start_matches("LOCKSTEP_").to_lowercase())
        };
        let lines: String = self.options.iter().map(line).collect();
        fs::write(&path, format!("data = {:?}\n{lines}", self.data.path())).unwrap();
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.data.path().with_extension("toml"));
    }
}

fn run(command: &mut Command) -> Answer {
    answer(&command.output().unwrap())
}

fn move_command(server: &Server, to: &Path) -> Command {
    let mut command = server.operator();
    command.args(["move", "--json", "--to"]).arg(to);
    command
}

/// Moves a server that was stopped, and serves it at the new place under the same address.
#[track_caller]
fn moved(server: &mut Server, to: Place) -> (Place, Value) {
    let done = run(&mut move_command(server, &to.file()));
    assert_eq!(done.code, 0, "{}", done.err);
    (served_there(server, to), done.json())
}

/// Serves a server that was moved at the new place under the same address; where it was.
#[track_caller]
fn served_there(server: &mut Server, mut to: Place) -> Place {
    let before = (audit(server), exported(server));
    assert_refused(server, "lockstepd move --take-back");
    let file = to.file();
    let data = std::mem::replace(&mut to.data, tempfile::tempdir().unwrap());
    fs::remove_file(file).unwrap();
    let (data, options) = server.go(data, std::mem::take(&mut to.options));
    assert_eq!((audit(server), exported(server)), before, "the log is the same, and whole");
    server.start_again();
    Place { data, options }
}

/// What `log verify` says of a log that nobody serves.
#[track_caller]
fn audit(server: &Server) -> Value {
    let verified = run(server.operator().args(["log", "verify", "--json"]));
    assert_eq!(verified.code, 0, "{}", verified.err);
    verified.json()
}

/// All that is in it.
#[track_caller]
fn exported(server: &Server) -> String {
    let exported = run(server.operator().args(["log", "export", "--contents"]));
    assert_eq!(exported.code, 0, "{}", exported.err);
    exported.out
}

#[track_caller]
fn assert_refused(server: &Server, why: &str) {
    let started = run(server.operator().args(["serve", "--listen", "127.0.0.1:0"]));
    assert!(started.code == 1 && started.err.contains(why), "{started:?}");
}

fn rows(report: &Value, table: &str) -> u64 {
    let tables = report["tables"].as_array().unwrap();
    tables.iter().find(|row| row["table"] == table).unwrap()["rows"].as_u64().unwrap()
}

fn letters(folder: &Path, to: &str) -> usize {
    let files = fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path());
    let texts = files.filter_map(|path| fs::read_to_string(path).ok());
    texts.filter(|text| text.lines().any(|line| line.starts_with("To: ") && line.contains(to))).count()
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(31) >> 3) as u8).collect()
}

/// Two devices with a conflict, files, a plan, an administrator, and somebody with a second factor.
struct Life {
    laptop: Device,
    phone: Device,
    root: Device,
    files: [Vec<u8>; 2],
    paper: Value,
}

const GRACE: &str = "grace@example.org";

/// Somebody who is asked for an authenticator app; the codes on paper that stand in for it.
fn with_a_second_factor(server: &Server) -> Value {
    let grace = Device::empty();
    grace.ok(&grace.enter("register", server, GRACE));
    let made = grace.json(&["factors", "totp"]);
    let (factor, secret) = (made["factor"].as_str().unwrap(), made["secret"].as_str().unwrap());
    grace.json(&["factors", "confirm", factor, &code(secret, 0)])["codes"].clone()
}

impl Life {
    fn lead(server: &Server) -> Self {
        let (laptop, root) = (Device::registered(server), Device::empty());
        root.ok(&root.enter("register", server, "root@example.org"));
        root.ok(&["admin", "bootstrap", server.bootstrap_token().trim()]);
        root.ok(&["admin", "user", "set-plan", NAME, "paid", "--reason", "paid by invoice"]);
        laptop.ok(&["add", "github", "--set", "username=ada", "--set", "password=one"]);
        laptop.ok(&["edit", "github", "--set", "password=two"]);
        let files = [bytes(100_000), bytes(9_000_000)];
        for (name, file) in ["small", "large"].into_iter().zip(&files) {
            let added = laptop.run_with(&["attachment", "add", "github", "-", "--name", name], file);
            assert_eq!(added.code, 0, "{}", added.err);
        }
        laptop.ok(&["add", "bank", "--set", "pin=1"]);
        let phone = Device::logged_in(server);
        laptop.ok(&["--offline", "edit", "bank", "--set", "pin=2"]);
        phone.ok(&["edit", "bank", "--set", "pin=3"]);
        laptop.ok(&["sync"]);
        let stranger = Device::empty();
        let enter = stranger.enter("login", server, NAME);
        let wrong = run(stranger.command(&enter).env("LOCKSTEP_PASSWORD", "violet anchor mumbles nineteen"));
        assert_eq!(wrong.code, 4, "{}", wrong.err);
        Self { laptop, phone, root, files, paper: with_a_second_factor(server) }
    }

    /// Everything is there, devices go on from their cursors, and no alarm was raised.
    fn goes_on(&self, server: &Server, round: usize) {
        let Self { laptop, phone, root, files, paper } = self;
        let grace = Device::empty();
        let enter = grace.enter("login", server, GRACE);
        assert_eq!(grace.run(&enter).code, 4, "the second factor is asked for");
        let code = paper[round].as_str().unwrap();
        assert_eq!(run(grace.command(&enter).env("LOCKSTEP_CODE", code)).code, 0);
        let round = format!("round {round}");
        laptop.ok(&["edit", "github", "--set", &format!("password={round}")]);
        phone.ok(&["sync"]);
        assert_eq!(phone.ok(&["get", "github", "password"]).trim(), round.as_str());
        let tablet = Device::logged_in(server);
        for device in [laptop, phone, &tablet] {
            assert_eq!(device.json(&["conflicts"])[0]["heads"].as_array().unwrap().len(), 2);
            for (name, file) in ["small", "large"].into_iter().zip(files) {
                let got = device.command(&["attachment", "get", "github", name]).output().unwrap().stdout;
                assert!(got == *file, "{name}");
            }
            let history = device.json(&["history", "github"]);
            assert!(history["versions"].as_array().unwrap().len() >= 3, "{history}");
            let status = device.json(&["status"]);
            assert_eq!((&status["alarms"], &status["waiting"]), (&0.into(), &0.into()), "{status}");
        }
        assert_eq!(tablet.json(&["plan"])["plan"], "paid");
        let shown = root.json(&["admin", "user", "show", NAME, "--reason", "asked by telephone"]);
        assert_eq!(shown["plan"], "paid");
    }
}

#[test]
fn a_server_moves_to_postgres_and_s3_on_to_another_postgres_and_back_and_clients_go_on() {
    // Mail waits: there is no server for it.
    let waiting = [("LOCKSTEP_MAIL", "smtp+plain://127.0.0.1:9"), ("LOCKSTEP_ACCESS_TOKEN_S", "10")];
    let mut server = Server::start_with(&waiting);
    let life = Life::lead(&server);
    server.kill();
    let mut to = Place::distributed();
    to.options.push(("LOCKSTEP_MAIL".to_owned(), "folder".to_owned()));
    let blobs = to.options.clone();
    let (old, report) = moved(&mut server, to);
    assert_eq!(report["objects"], 2, "{report}");
    assert!(rows(&report, "mail_tasks") > 0 && rows(&report, "rl_kept") > 0, "{report}");
    assert_eq!((&report["keys"], &report["certificate"]), (&"copied".into(), &"copied".into()));
    let since = Instant::now();
    while letters(&server.mail(), NAME) == 0 {
        assert!(since.elapsed() < Duration::from_secs(180), "the letter that waited was not sent");
        std::thread::sleep(Duration::from_millis(100));
    }
    life.goes_on(&server, 0);

    // Another database over the same bucket.
    server.kill();
    let (_, report) = moved(&mut server, Place::distributed().with_blobs_of(&blobs));
    assert_eq!(report["objects"], 0, "the bucket is the same: {report}");
    life.goes_on(&server, 1);

    // Back, and not over the old place.
    server.kill();
    let over = run(&mut move_command(&server, &old.file()));
    assert!(over.code == 1 && over.err.contains("give it a new place, too"), "{over:?}");
    let (_, report) = moved(&mut server, Place::embedded());
    assert!(report["objects"].as_u64().unwrap() >= 2, "{report}");
    life.goes_on(&server, 2);
}

#[test]
fn a_move_that_is_killed_anywhere_is_begun_again_and_no_half_of_it_serves() {
    let mut server = Server::start();
    let life = Life::lead(&server);
    server.kill();
    // How long it takes, to kill it at every sixth of that, and later: the machine may be busier then.
    let trial = Place::distributed();
    let since = Instant::now();
    let whole = run(&mut move_command(&server, &trial.file()));
    assert_eq!(whole.code, 0, "{}", whole.err);
    let takes = since.elapsed();
    assert_eq!(run(server.operator().args(["move", "--take-back"])).code, 0);

    let to = Place::distributed();
    let target = Server::stopped(&to.data, &to.options);
    let (mut halves, mut whole) = (0, false);
    for sixth in 1..=40 {
        let mut moving = move_command(&server, &to.file());
        let mut moving = moving.stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(takes * sixth / 7);
        moving.kill().unwrap();
        whole = moving.wait().unwrap().success();
        if whole {
            break;
        }
        let old = run(server.operator().args(["keys", "list"]));
        if old.code == 1 && old.err.contains("was cut off") {
            halves += 1;
            let new = run(target().args(["serve", "--listen", "127.0.0.1:0"]));
            assert!(new.code == 1 && new.err.contains("was cut off"), "{new:?}");
        } else if old.code == 1 && old.err.contains("was moved on") {
            // It was whole, and the kill met what was left to say of it; or its very last step, which is said again.
            let again = run(&mut move_command(&server, &to.file()));
            whole = again.code == 0 || again.err.contains("this server was moved before");
            assert!(whole, "{again:?}");
            break;
        }
    }
    assert!(halves > 0, "no kill met it at its work ({takes:?})");
    if !whole {
        let done = run(&mut move_command(&server, &to.file()));
        assert_eq!(done.code, 0, "{}", done.err);
    }
    served_there(&mut server, to);
    life.goes_on(&server, 0);
}

#[test]
fn the_files_of_a_server_move_to_a_bucket_alone_and_never_into_one_that_has_others() {
    let mut server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "github"]);
    let file = bytes(5_000_000);
    assert_eq!(laptop.run_with(&["attachment", "add", "github", "-", "--name", "scan"], &file).code, 0);
    server.kill();
    let to = Place::embedded().with_blobs_of(&Place::distributed().options);
    let lines = fs::read_to_string(to.file()).unwrap();
    let lines = lines.replace(&format!("{:?}", to.data.path()), &format!("{:?}", server.data()));
    fs::write(to.data.path().with_extension("toml"), lines).unwrap();
    let mut go = move_command(&server, &to.data.path().with_extension("toml"));

    let bucket = bucket(&to.options);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(bucket.put("packs/of-somebody/else", "theirs".into())).unwrap();
    let refused = run(&mut go);
    assert!(refused.code == 1 && refused.err.contains("packs/of-somebody/else"), "{refused:?}");
    runtime.block_on(bucket.delete("packs/of-somebody/else")).unwrap();

    let done = run(&mut go);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(done.json()["tables"], serde_json::json!([]), "the databases stay");
    fs::remove_dir_all(server.data().join("blobs")).unwrap();
    let (data, _) = server.go(tempfile::tempdir().unwrap(), Vec::new());
    server.go(data, to.options.clone());
    server.start_again();
    let phone = Device::logged_in(&server);
    let got = phone.command(&["attachment", "get", "github", "scan"]).output().unwrap().stdout;
    assert!(got == file, "{} bytes", got.len());
}

#[test]
fn a_server_that_starts_while_the_log_is_read_for_a_move_is_noticed() {
    use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
    let mut server = Server::start_in(Mode::Distributed);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "github"]);
    server.kill();
    let (_, url) = server.options().iter().find(|(name, _)| name == "LOCKSTEP_LOG").unwrap().clone();
    let to = Place::embedded();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(async {
        let mut holds = PgConnection::connect(&url).await.unwrap();
        let mut looks = PgConnection::connect(&url).await.unwrap();
        holds.execute("BEGIN; LOCK TABLE events").await.unwrap();
        let mut moving = move_command(&server, &to.file());
        let moving = moving.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND application_name LIKE 'lockstepd%' AND wait_event_type = 'Lock'";
        let since = Instant::now();
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut looks).await.unwrap() == 0 {
            assert!(since.elapsed() < Duration::from_secs(60), "it does not read the log");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // A node that has looked whether it may serve, and found that it may.
        let node = format!("{url}?application_name=lockstepd");
        let mut node = PgConnection::connect(&node).await.unwrap();
        node.execute(AssertSqlSafe("SELECT 1".to_owned())).await.unwrap();
        holds.execute("ROLLBACK").await.unwrap();
        let refused = answer(&moving.wait_with_output().unwrap());
        node.close().await.unwrap();
        refused
    });
    assert!(refused.code == 1 && refused.err.contains("servers are connected"), "{refused:?}");
    assert_eq!(run(server.operator().args(["keys", "list"])).code, 0, "the old place serves");
    moved(&mut server, to);
    laptop.ok(&["sync"]);
    assert_eq!(laptop.json(&["status"])["alarms"], 0);
}
