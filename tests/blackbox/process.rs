//! The program itself: what it prints, what it keeps, and that two never share a folder.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use lockstep_api::Code;
use lockstepd::app::{self, StartError};
use sqlx::{Connection, Executor};

use crate::support::{Mode, Node, Person, assert_problem};

in_both_modes! {
    many threads:
    a_log_without_its_keys_or_behind_its_read_models_refuses_to_start,
    an_operator_who_put_a_backup_back_says_so_and_every_stream_begins_another_life,
    a_restart_keeps_accounts_sessions_and_tokens,
}

/// A server in a process of its own.
pub struct Process {
    child: Child,
    pub lines: Vec<String>,
}

impl Process {
    pub fn start(data: &Path) -> Self {
        Self::of(&mut command(data))
    }

    pub fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut lines = Vec::new();
        // The last line: after it nobody misses the reader of this pipe.
        while !lines.last().is_some_and(|line: &String| line.starts_with("Next: ")) {
            let mut line = String::new();
            assert!(out.read_line(&mut line).unwrap() > 0, "{lines:?}");
            lines.push(line);
        }
        Self { child, lines }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn fingerprint(&self) -> &str {
        self.lines[1].trim().rsplit(' ').next().unwrap()
    }

    pub fn url(&self) -> &str {
        self.lines[0].trim().rsplit(' ').next().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstepd"));
    command.arg("--data").arg(data).args(["--listen", "127.0.0.1:0"]).env_clear();
    command
}

/// The commands of whoever runs a server on these stores.
pub fn operator(node: &Node) -> impl Fn(&[&str]) -> Output + use<> {
    let (data, databases) = (node.data(), ["LOCKSTEP_LOG", "LOCKSTEP_READS", "LOCKSTEP_CREDENTIALS"]);
    let stores = node.place().stores.map(|(database, _)| databases.map(|option| (option, database.clone())));
    move |args| command(&data).envs(stores.clone().into_iter().flatten()).args(args).output().unwrap()
}

fn address(process: &Process) -> lockstep_client::server::Server {
    let trust = lockstep_client::server::Trust::Pinned(process.fingerprint().parse().unwrap());
    lockstep_client::server::Server::new(process.url(), trust).unwrap()
}

fn password() -> lockstep_client::crypto::password::Password {
    lockstep_client::crypto::password::Password::new("violet anchor mumbles seventeen".into())
}

/// Somebody registers; their account.
pub async fn registered(process: &Process, name: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let (server, password) = (address(process), password());
    let client = lockstep_client::Client::register(home.path(), &server, name, &password).await.unwrap();
    client.status().await.unwrap().account.to_string()
}

#[test]
fn the_first_words_are_the_address_the_fingerprint_and_the_next_command() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(&folder.path().join("data"));
    assert!(process.url().starts_with("https://127.0.0.1:"));
    assert_eq!(process.fingerprint().len(), 64);
    let next = format!("lockstep register --server {} --email you@example.org --fingerprint", process.url());
    assert!(process.lines.last().unwrap().contains(&next), "{:?}", process.lines);
}

#[test]
fn the_certificate_stays_the_same_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = Process::start(&data).fingerprint().to_owned();
    assert_eq!(Process::start(&data).fingerprint(), first);
}

#[test]
fn a_second_server_on_the_same_folder_is_refused_with_a_clear_word() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _first = Process::start(&data);
    let second = command(&data).output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("another lockstepd is using"), "{said}");
}

#[test]
fn health_asks_the_running_server_over_its_own_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::start(&data);
    let ask = |url: &str| command(&data).args(["health", "--url", url]).output().unwrap();
    let answer = ask(process.url());
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    assert!(String::from_utf8_lossy(&answer.stdout).contains("\"ready\":true"));
    assert!(!ask("https://127.0.0.1:1").status.success());
}

#[test]
fn an_unknown_option_in_the_file_refuses_to_start_and_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lockstep.toml");
    std::fs::write(&file, "# mine\nlissten = \"127.0.0.1:1\"\n").unwrap();
    let mut child = command(&folder.path().join("data"))
        .arg("--config")
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(said.contains("line 2") && said.contains("lissten"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_polite_stop_ends_the_process_soon() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(&folder.path().join("data"));
    let stop = Command::new("kill").arg(process.child.id().to_string()).status().unwrap();
    assert!(stop.success());
    assert!(process.child.wait().unwrap().success());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn after_a_polite_stop_every_database_is_whole_in_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut process = Process::start(&data);
    registered(&process, "ada@example.org").await;
    let journals = || {
        let files = std::fs::read_dir(&data).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|end| end == "sqlite-wal")).collect::<Vec<_>>()
    };
    assert_eq!(journals().len(), 5, "{:?}", journals());
    assert!(Command::new("kill").arg(process.child.id().to_string()).status().unwrap().success());
    assert!(process.child.wait().unwrap().success());
    let left: Vec<_> = journals().into_iter().filter(|file| file.metadata().unwrap().len() > 0).collect();
    assert!(left.is_empty(), "{left:?}");
    // A copy of these files alone is the server.
    for name in journals().iter().map(|file| file.with_extension("sqlite-shm")).chain(journals()) {
        let _ = std::fs::remove_file(name);
    }
    let again = Process::start(&data);
    let home = tempfile::tempdir().unwrap();
    let (server, password) = (address(&again), password());
    lockstep_client::Client::login(home.path(), &server, "ada@example.org", &password).await.unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_polite_stop_is_listened_for_before_the_first_word() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(&folder.path().join("data")).stdout(Stdio::piped()).spawn().unwrap();
    // Bit n − 1 of the signals a process catches is signal n (proc_pid_status(5)); SIGTERM is 15.
    let id = child.id();
    let catches = || {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << 14) != 0
    };
    let mut out = BufReader::new(child.stdout.as_mut().unwrap());
    out.read_line(&mut String::new()).unwrap();
    let caught = catches();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(caught);
}

#[cfg(unix)]
#[test]
fn a_polite_stop_ends_the_process_soon_even_if_every_place_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut lonely = command(&folder.path().join("data"));
    lonely.env("LOCKSTEP_MAX_CONNECTIONS", "1").env("LOCKSTEP_DRAIN_S", "1");
    let mut process = Process::of(&mut lonely);
    let address = process.url().trim_start_matches("https://").to_owned();
    let guests: Vec<_> = (0..2).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    let began = Instant::now();
    assert!(Command::new("kill").arg(process.child.id().to_string()).status().unwrap().success());
    assert!(process.child.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    drop(guests);
}

#[cfg(unix)]
#[test]
fn what_a_server_makes_only_its_owner_may_read_even_in_a_folder_of_everybody() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let _process = Process::start(folder.path());
    let made: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
    assert!(made.iter().any(|file| file.file_name() == "credentials.sqlite"));
    for file in made {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
    }
}

async fn a_log_without_its_keys_or_behind_its_read_models_refuses_to_start(mode: Mode) {
    let mut node = Node::start(mode).await;
    Person::register(&node).await;
    let (operator, data) = (operator(&node), node.data());
    node.stop().await;
    let keys = data.join("keys");
    std::fs::rename(&keys, data.join("elsewhere")).unwrap();
    assert!(complaint(&operator(&["serve"])).contains("there is no key file"));
    assert!(!keys.exists(), "none was made in its place");
    std::fs::rename(data.join("elsewhere"), &keys).unwrap();
    if mode != Mode::Embedded {
        let mut database = sqlx::PgConnection::connect(&node.database()).await.unwrap();
        database.execute("UPDATE read_checkpoints SET position = 1000000").await.unwrap();
    }
    for file in ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"] {
        let _ = std::fs::remove_file(data.join(file));
    }
    assert!(complaint(&operator(&["serve"])).contains("this is another log, or an older one was put back"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_from_beside_its_log_is_missed_by_every_command_and_not_made_anew() {
    let mut node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    node.stop().await;
    let data = node.data();
    for name in ["credentials.sqlite", "operations.sqlite"] {
        let (file, away) = (data.join(name), data.join("away"));
        std::fs::rename(&file, &away).unwrap();
        for args in [
            &["serve"][..],
            &["keys", "list"],
            &["subject", "export", &person.account.to_string(), "--reason=asked"],
        ] {
            let said = refused(&data, args);
            assert!(said.contains(name) && said.contains("put it back from the backup"), "{args:?}: {said}");
            assert!(!file.exists(), "none was made in its place");
        }
        std::fs::rename(&away, &file).unwrap();
    }
    node.begin().await;
    assert_eq!(person.login(&node, &person.password, true).await.status().as_u16(), 200);
    // Given up by whoever runs the server, in so many words.
    node.stop().await;
    for name in ["credentials.sqlite", "credentials.sqlite-wal", "credentials.sqlite-shm"] {
        let _ = std::fs::remove_file(data.join(name));
    }
    std::fs::write(data.join("credentials.sqlite"), b"").unwrap();
    node.begin().await;
    assert_problem(person.login(&node, &person.password, true).await, Code::LoginFailed).await;
}

/// As a database is that was made anew after it was lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_of_credentials_beside_a_log_is_missed_until_it_is_given_up() {
    let mut node = Node::start(Mode::Distributed).await;
    let person = Person::register(&node).await;
    let config = node.running().server.config.clone();
    node.stop().await;
    let mut database = sqlx::PgConnection::connect(&node.database()).await.unwrap();
    let lost = "TRUNCATE server_facts, names, passwords, wraps, sessions, signing_keys";
    database.execute(sqlx::raw_sql(lost)).await.unwrap();
    for _ in 0..2 {
        let refused = node.try_begin().await.unwrap_err();
        assert!(matches!(refused, StartError::LostCredentials), "{refused}");
        let refused = app::tools(&config).await.err().unwrap();
        assert!(refused.to_string().contains("put it back from the backup"), "{refused}");
    }
    let given_up = "INSERT INTO server_facts VALUES ('begun_anew', '')";
    database.execute(sqlx::raw_sql(given_up)).await.unwrap();
    node.begin().await;
    assert_problem(person.login(&node, &person.password, true).await, Code::LoginFailed).await;
    node.restart().await;
}

#[test]
fn half_of_the_pair_that_clients_trust_is_missed_and_no_other_pair_made() {
    let folder = tempfile::tempdir().unwrap();
    let pinned = Process::start(folder.path()).fingerprint().to_owned();
    for name in ["key.pem", "cert.pem"] {
        let (file, away) = (folder.path().join("tls").join(name), folder.path().join("away"));
        std::fs::rename(&file, &away).unwrap();
        let said = refused(folder.path(), &["serve"]);
        assert!(said.contains(name) && said.contains("put it back from the backup"), "{said}");
        std::fs::rename(&away, &file).unwrap();
    }
    assert_eq!(Process::start(folder.path()).fingerprint(), pinned);
    std::fs::remove_dir_all(folder.path().join("tls")).unwrap();
    assert_ne!(Process::start(folder.path()).fingerprint(), pinned);
}

async fn an_operator_who_put_a_backup_back_says_so_and_every_stream_begins_another_life(mode: Mode) {
    let mut node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let before = person.epoch(&node).await;
    let operator = operator(&node);
    let running = complaint(&operator(&["log", "restored"]));
    assert!(running.contains("another lockstepd is using"), "{running}");
    node.stop().await;
    let verified = operator(&["log", "verify"]);
    let followed = " events of 2 streams of accounts and vaults and 1 of the server's own up to ";
    assert!(String::from_utf8_lossy(&verified.stdout).contains(followed), "{verified:?}");
    let mut said = operator(&["log", "restored"]);
    // A server that ended in this process takes its time to close its connections to a database.
    for _ in 0..20 {
        if said.status.success() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        said = operator(&["log", "restored"]);
    }
    let renewed = "2 streams of accounts and vaults begin another life";
    assert!(String::from_utf8_lossy(&said.stdout).starts_with(renewed), "{said:?}");
    node.begin().await;
    assert_ne!(person.epoch(&node).await, before);
}

async fn a_restart_keeps_accounts_sessions_and_tokens(mode: Mode) {
    let mut node = Node::start(mode).await;
    let person = Person::register(&node).await;
    node.restart().await;
    assert_eq!(person.get(&node, "/v1/account").await.status().as_u16(), 200);
    assert_eq!(person.refresh(&node, &person.tokens.refresh_token).await.status().as_u16(), 200);
    assert_eq!(person.login(&node, &person.password, true).await.status().as_u16(), 200);
}

/// What a command that fails says.
pub fn complaint(answer: &Output) -> String {
    assert!(!answer.status.success(), "{answer:?}");
    String::from_utf8(answer.stderr.clone()).unwrap()
}

fn refused(data: &Path, args: &[&str]) -> String {
    complaint(&command(data).args(args).output().unwrap())
}

#[test]
fn a_command_in_the_wrong_folder_says_that_no_server_has_run_there_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("wrong");
    for args in [
        &["projections", "list"][..],
        &["keys", "list"],
        &["admin", "bootstrap"],
        &["subject", "export", "ada@example.org", "--reason=asked"],
    ] {
        let said = refused(&data, args);
        assert!(said.contains("no server has run with these options") && said.contains("--data"), "{said}");
    }
    assert!(!data.exists());
    let said = refused(&data, &["health", "--url", "https://127.0.0.1:1"]);
    assert!(said.contains("no server answers at https://127.0.0.1:1"), "{said}");
}

#[test]
fn an_address_in_use_is_refused_with_what_to_do_and_health_names_the_certificate_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::start(&folder.path().join("first"));
    let address = first.url().strip_prefix("https://").unwrap();
    let mut second = Command::new(env!("CARGO_BIN_EXE_lockstepd"));
    second.arg("--data").arg(folder.path().join("second")).args(["--listen", address]).env_clear();
    let answer = second.output().unwrap();
    let said = String::from_utf8(answer.stderr).unwrap();
    assert!(!answer.status.success() && said.contains("--listen names another address"), "{said}");
    let said = refused(&folder.path().join("third"), &["health", "--url", first.url()]);
    assert!(said.contains("there is no certificate") && said.contains("--data"), "{said}");
}
