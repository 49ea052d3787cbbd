//! What the program says to whoever runs it, where something is not as they think.

use std::{path::Path, process::Output, time::Duration};

use crate::{
    process::{Process, command},
    support::{Mode, Node},
};

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
fn a_start_while_an_earlier_token_is_valid_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let of = |process: &Process| process.lines.iter().find(|line| line.starts_with("First admin")).cloned();
    let first = of(&Process::start(folder.path())).unwrap();
    assert!(first.contains("bootstrap lsb_"), "{first}");
    let second = of(&Process::start(folder.path())).unwrap();
    assert!(second.contains("the token of an earlier start is valid until 2"), "{second}");
    assert!(second.contains("`lockstepd admin bootstrap`") && !second.contains("lsb_"), "{second}");
}

#[test]
fn a_change_of_the_keys_says_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    drop(Process::start(folder.path()));
    let keys = |args: &[&str]| {
        let answer = command(folder.path()).arg("keys").args(args).output().unwrap();
        assert!(answer.status.success(), "{}", said(&answer));
        said(&answer)
    };
    let rotated = keys(&["rotate"]);
    let (kid, rest) = rotated.split_once(" signs from now on").unwrap();
    assert!(rest.contains(&format!("{kid}  current")), "{rotated}");
    assert!(keys(&["revoke", kid]).starts_with(&format!("What {kid} has signed is refused from now on")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_servers_are_connected_to_is_not_said_to_be_restored() {
    let mut node = Node::start(Mode::Distributed).await;
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
}
