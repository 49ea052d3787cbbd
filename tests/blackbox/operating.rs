//! What the program says to whoever runs it, where something is not as they think.

use std::{
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use crate::{
    mode::Mode,
    process::{Process, command, complaint, registered},
    support::{self, Node},
};

in_both_modes! {
    a_start_while_an_earlier_token_is_valid_says_so,
    a_server_for_invited_people_says_how_the_first_one_registers,
    a_change_of_the_keys_says_what_it_did,
    a_letter_is_answered_by_the_name_of_the_person_and_never_over_a_file_that_is_there,
    a_token_that_cannot_be_written_down_is_not_opened_and_the_next_start_makes_one,
    an_export_that_is_killed_leaves_no_half_of_a_file_and_can_be_said_again,
}

fn said(answer: &Output) -> String {
    String::from_utf8_lossy(&answer.stdout).into_owned() + &String::from_utf8_lossy(&answer.stderr)
}

/// The answer to a command with a variable in its environment.
fn with(data: &Path, (variable, value): (&str, &str), args: &[&str]) -> Output {
    command(data).env(variable, value).args(args).output().unwrap()
}

#[test]
fn a_variable_that_is_nearly_an_option_refuses_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["serve"][..], &["config", "show"], &["log", "verify"]] {
        let answer = with(folder.path(), ("LOCKSTEP_RETENTON_DAYS", "3"), args);
        let expected = "LOCKSTEP_RETENTON_DAYS names no option: did you mean LOCKSTEP_RETENTION_DAYS?";
        assert!(!answer.status.success() && said(&answer).contains(expected), "{}", said(&answer));
    }
}

#[test]
fn a_database_that_cannot_be_opened_is_named_by_its_option_and_its_error_said_once() {
    let folder = tempfile::tempdir().unwrap();
    for (option, variable) in
        [("log", "LOCKSTEP_LOG"), ("reads", "LOCKSTEP_READS"), ("credentials", "LOCKSTEP_CREDENTIALS")]
    {
        let said = said(&with(folder.path(), (variable, "postgres"), &["serve"]));
        assert!(said.contains(&format!("the database of {option} cannot be opened")), "{said}");
        assert_eq!(said.matches("relative URL without a base").count(), 1, "{said}");
    }
}

#[test]
fn a_store_of_another_form_is_answered_with_the_forms_that_there_are_and_never_with_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    for (option, variable, right) in [
        ("log", "LOCKSTEP_LOG", "postgres://USER:PASSWORD@HOST:PORT/DATABASE"),
        ("blobs", "LOCKSTEP_BLOBS", "s3://BUCKET"),
    ] {
        for wrong in ["10.0.0.7:4222", "ada:violet@10.0.0.7:4222"] {
            let said = said(&with(folder.path(), (variable, wrong), &["serve"]));
            assert!(said.contains(right) && said.contains(option) && !said.contains("violet"), "{said}");
        }
    }
}

#[test]
fn an_option_that_can_never_be_meant_so_ends_with_2_and_a_file_that_may_come_with_1_before_anything_is_made()
{
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let provider = |rest: &str| format!("x = {{ client_id = \"y\", {rest} }}");
    let apple = "preset = \"apple\", apple = { team = \"T\", key_id = \"K\", key_file = \"nope.p8\" }";
    for (code, named, options) in [
        (2, "mail: ", vec![("MAIL", "foo://ada:violet@host".to_owned())]),
        (2, "mail: ", vec![("MAIL", "smtp://ada:violet@host:99999".to_owned())]),
        (2, "mail_from: ", vec![("MAIL_FROM", "nobody".to_owned())]),
        (2, "oidc: an issuer", vec![("OIDC", provider("issuer = \"http://x\""))]),
        (2, "database of log ", vec![("LOG", "postgres://ada:violet@host/d?sslmode=foo".to_owned())]),
        (2, "database of reads ", vec![("READS", "postgres".to_owned())]),
        (2, "blobs = ", vec![("BLOBS", "ftp://host".to_owned())]),
        (2, "passkey_origins must", vec![("PASSKEY_ORIGINS", "https://elsewhere.org".to_owned())]),
        (1, "mail_ca: ", vec![("MAIL", "smtp://host".to_owned()), ("MAIL_CA", "nope.pem".to_owned())]),
        (
            1,
            "oidc_ca: ",
            vec![("OIDC", provider("issuer = \"https://x\"")), ("OIDC_CA", "nope.pem".to_owned())],
        ),
        (1, "oidc: apple.key_file ", vec![("OIDC", provider(apple))]),
    ] {
        let mut command = command(&data);
        command.envs(options.iter().map(|(name, value)| (format!("LOCKSTEP_{name}"), value)));
        let answer = command.arg("serve").output().unwrap();
        let told = said(&answer);
        assert!(told.contains(named) && !told.contains("violet"), "{options:?}: {told}");
        assert_eq!(answer.status.code(), Some(code), "{told}");
        assert!(!data.exists(), "{options:?}");
    }
}

#[test]
fn a_database_that_takes_connections_and_says_nothing_is_given_up_and_named_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let database = format!("postgres://ada:violet@{}/lockstep", silent.local_addr().unwrap());
    std::thread::spawn(move || silent.incoming().collect::<Vec<_>>());
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    std::fs::write(folder.path().join("keys/server.json"), b"").unwrap();
    let commands: [&[&str]; 8] = [
        &["serve"],
        &["log", "verify"],
        &["log", "restored"],
        &["projections", "list"],
        &["projections", "rebuild", "--all"],
        &["keys", "list"],
        &["subject", "export", "ada@example.org", "--reason=asked"],
        &["blobs", "verify"],
    ];
    for args in commands {
        let mut command = command(folder.path());
        for option in ["LOCKSTEP_LOG", "LOCKSTEP_READS", "LOCKSTEP_CREDENTIALS"] {
            command.env(option, &database);
        }
        let mut child = command.args(args).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let until = Instant::now() + Duration::from_mins(1);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                child.kill().unwrap();
                panic!("{args:?} waits for ever");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let answer = child.wait_with_output().unwrap();
        let told = complaint(&answer);
        assert!(
            told.contains("the database of log, reads, credentials cannot be opened"),
            "{args:?}: {told}"
        );
        assert!(answer.status.code() == Some(1) && !told.contains("violet"), "{args:?}: {told}");
    }
}

#[test]
fn a_port_that_is_taken_is_answered_with_the_option_that_names_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said_of = |option: &str| {
        let mut command = command(folder.path());
        said(&command.env("LOCKSTEP_ADMIN_LISTEN", option).arg("serve").output().unwrap())
    };
    let answer = said_of(&address);
    assert!(answer.contains(&address) && answer.contains("admin_listen names another address"), "{answer}");
}

#[test]
fn behind_a_proxy_the_next_command_has_the_address_that_clients_take() {
    let folder = tempfile::tempdir().unwrap();
    for (public, expected) in [
        ("", "--server https://YOUR-PROXY "),
        ("https://vault.example.org", "--server https://vault.example.org "),
    ] {
        let mut command = command(folder.path());
        let command = command.env("LOCKSTEP_PLAIN_HTTP", "true").env("LOCKSTEP_PUBLIC_URL", public);
        let process = Process::of(command);
        assert!(process.lines.last().unwrap().contains(expected), "{:?}", process.lines);
    }
}

#[test]
fn a_server_that_listens_everywhere_names_an_address_that_can_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstepd"));
    let process =
        Process::of(command.arg("--data").arg(folder.path()).args(["--listen", "0.0.0.0:0"]).env_clear());
    assert!(!process.lines.last().unwrap().contains("0.0.0.0"), "{:?}", process.lines);
}

async fn a_start_while_an_earlier_token_is_valid_says_so(mode: Mode) {
    let (folder, options) = (tempfile::tempdir().unwrap(), mode.options().await);
    let first_admin = || {
        let process = Process::of(command(folder.path()).envs(options.clone()));
        process.lines.iter().find(|line| line.starts_with("First admin")).cloned().unwrap()
    };
    let first = first_admin();
    assert!(first.contains("bootstrap lsb_"), "{first}");
    let second = first_admin();
    assert!(second.contains("the token of an earlier start is valid until 2"), "{second}");
    assert!(second.contains("`lockstepd admin bootstrap`") && !second.contains("lsb_"), "{second}");
}

async fn a_server_for_invited_people_says_how_the_first_one_registers(mode: Mode) {
    let (folder, options) = (tempfile::tempdir().unwrap(), mode.options().await);
    let command = || {
        let mut command = command(folder.path());
        command.envs(options.clone()).env("LOCKSTEP_REGISTRATION", "invited");
        command
    };
    let first = Process::of(&mut command());
    let token = std::fs::read_to_string(folder.path().join("bootstrap-token")).unwrap();
    let with = format!(" --invitation {}", token.trim());
    assert!(first.lines.last().unwrap().contains(&with), "{:?}", first.lines);
    drop(first);
    let second = Process::of(&mut command());
    assert!(second.lines.last().unwrap().contains(" --invitation TOKEN"), "{:?}", second.lines);
    let another = said(&command().args(["admin", "bootstrap"]).output().unwrap());
    assert!(
        another.contains("bootstrap lsb_") && another.contains("register --invitation lsb_"),
        "{another}"
    );
}

async fn a_token_that_cannot_be_written_down_is_not_opened_and_the_next_start_makes_one(mode: Mode) {
    let (folder, options) = (tempfile::tempdir().unwrap(), mode.options().await);
    let in_the_way = folder.path().join("bootstrap-token");
    std::fs::create_dir_all(in_the_way.join("in the way")).unwrap();
    let refused = complaint(&command(folder.path()).envs(options.clone()).arg("serve").output().unwrap());
    assert!(refused.contains("cannot be written to") && refused.contains("bootstrap-token"), "{refused}");
    std::fs::remove_dir_all(&in_the_way).unwrap();
    let process = Process::of(command(folder.path()).envs(options));
    let told = process.lines.iter().find(|line| line.starts_with("First admin")).unwrap();
    let token = std::fs::read_to_string(in_the_way).unwrap();
    assert!(told.contains(token.trim()) && token.starts_with("lsb_"), "{told}");
}

async fn an_export_that_is_killed_leaves_no_half_of_a_file_and_can_be_said_again(mode: Mode) {
    let (folder, options) = (tempfile::tempdir().unwrap(), mode.options().await);
    let (data, outs) = (folder.path().join("data"), folder.path().join("outs"));
    std::fs::create_dir(&outs).unwrap();
    let process = Process::of(command(&data).envs(options.clone()));
    let account = registered(&process, "ada@example.org").await;
    let out = outs.join("ada.jsonl");
    let export = || {
        let mut export = command(&data);
        export
            .envs(options.clone())
            .args(["subject", "export", &account, "--reason", "asked", "--out"])
            .arg(&out);
        export
    };
    let begun = || std::fs::read_dir(&outs).unwrap().count();
    // It is killed as soon as there is anything of it.
    let mut halves = 0;
    for _ in 0..20 {
        let mut killed = export().spawn().unwrap();
        while begun() == halves && killed.try_wait().unwrap().is_none() {}
        killed.kill().unwrap();
        killed.wait().unwrap();
        if out.exists() {
            let whole = std::fs::read_to_string(&out).unwrap();
            assert!(
                whole.lines().last().is_some_and(|line| line.contains(r#""part":"manifest""#)),
                "{whole}"
            );
            std::fs::remove_file(&out).unwrap();
        }
        halves = begun();
        if halves > 0 {
            break;
        }
    }
    assert!(halves > 0, "no kill met it at its work");
    let answer = export().output().unwrap();
    assert!(answer.status.success(), "{}", said(&answer));
    assert_eq!(begun(), 1, "what was left is gone");
}

async fn a_change_of_the_keys_says_what_it_did(mode: Mode) {
    let (folder, options) = (tempfile::tempdir().unwrap(), mode.options().await);
    drop(Process::of(command(folder.path()).envs(options.clone())));
    let keys = |args: &[&str]| {
        let answer = command(folder.path()).envs(options.clone()).arg("keys").args(args).output().unwrap();
        assert!(answer.status.success(), "{}", said(&answer));
        said(&answer)
    };
    let rotated = keys(&["rotate"]);
    let (kid, rest) = rotated.split_once(" signs from now on").unwrap();
    assert!(rest.contains(&format!("{kid}  current")), "{rotated}");
    assert!(keys(&["revoke", kid]).starts_with(&format!("What {kid} has signed is refused from now on")));
}

async fn a_letter_is_answered_by_the_name_of_the_person_and_never_over_a_file_that_is_there(mode: Mode) {
    let (folder, stores) = (tempfile::tempdir().unwrap(), mode.options().await);
    let data = folder.path().join("data");
    let command = || {
        let mut command = command(&data);
        command.envs(stores.clone());
        command
    };
    let process = Process::of(&mut command());
    let account = registered(&process, "ada@example.org").await;
    let out = folder.path().join("ada.jsonl");
    let export = |person: &str| {
        command()
            .args(["subject", "export", person, "--reason", "asked", "--out"])
            .arg(&out)
            .output()
            .unwrap()
    };
    let answer = export("Ada@example.org");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let written = std::fs::read_to_string(&out).unwrap();
    assert!(written.contains(&account) && written.contains(r#"{"part":"manifest""#));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&out).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "nobody but the operator reads it");
    let said = String::from_utf8(export(&account).stderr).unwrap();
    assert!(said.contains("ada.jsonl"), "{said}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), written);
    let erase = |hours: &str, more: &[&str]| {
        let args = ["subject", "erase", &account, "--reason", "asked", "--wait-hours", hours, "--json"];
        let answer = command().args(args).args(more).output().unwrap();
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        serde_json::from_slice::<serde_json::Value>(&answer.stdout).unwrap()
    };
    assert_eq!(erase("9", &["--dry-run"])["before"], "none");
    let first = erase("5", &[]);
    assert_eq!((&first["before"], &first["before_due_at"]), (&"none".into(), &serde_json::Value::Null));
    let later = erase("9", &[]);
    assert_eq!((&later["before"], &later["before_due_at"]), (&"due".into(), &first["due_at"]));
    assert_eq!(
        (&later["due_at"], erase("9", &["--dry-run"])["due_at"] == first["due_at"]),
        (&first["due_at"], true)
    );
    let nobody = uuid::Uuid::from_u128(7).to_string();
    for (person, part) in
        [("eve@example.org", "nobody is registered"), (nobody.as_str(), "there is no account")]
    {
        let erase = ["subject", "erase", person, "--reason", "asked", "--dry-run"];
        let said = complaint(&command().args(erase).output().unwrap());
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_servers_are_connected_to_is_not_said_to_be_restored() {
    let mut node = Node::start(support::Mode::Distributed).await;
    let folder = tempfile::tempdir().unwrap();
    let database = node.database();
    let restored = || with(folder.path(), ("LOCKSTEP_LOG", &database), &["log", "restored"]);
    let running = restored();
    assert!(
        !running.status.success() && said(&running).contains("stop every node first"),
        "{}",
        said(&running)
    );
    node.stop().await;
    let mut stopped = restored();
    // A server that ended in this process takes its time to close its connections.
    for _ in 0..20 {
        if stopped.status.success() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        stopped = restored();
    }
    assert!(stopped.status.success(), "{}", said(&stopped));
    let told = String::from_utf8_lossy(&stopped.stdout);
    assert!(told.contains("say this once more where a server has its keys"), "{told}");
}
