//! What meets somebody who begins: wrong directories, wrong certificates, empty lists, an interrupted command.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
};

use crate::{
    device::{Device, NAME, answer},
    server::Server,
};

#[test]
fn a_profile_is_never_made_among_other_files_and_those_stay_as_they_are() {
    let server = Server::start();
    let device = Device::empty();
    let file = device.home().join("attachments/scan.pdf");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "mine").unwrap();
    std::fs::set_permissions(device.home(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for verb in ["register", "login"] {
        let refused = device.run(&device.enter(verb, &server, NAME));
        assert_eq!(refused.code, 2, "{}", refused.err);
        assert!(
            refused.err.contains("holds other files") && refused.err.contains("--home"),
            "{}",
            refused.err
        );
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    let mode = std::fs::metadata(device.home()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    Device::registered(&server);
}

#[test]
fn where_no_profile_can_be_written_no_account_is_made() {
    let server = Server::start();
    let device = Device::empty();
    let file = device.home().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = device.command(&device.enter("register", &server, NAME));
    let failed = answer(&command.env("LOCKSTEP_HOME", file.join("below")).output().unwrap());
    assert_eq!(failed.code, 1, "{}", failed.err);
    assert!(failed.err.contains("--home"), "{}", failed.err);
    // The name is free still.
    Device::registered(&server);
    let taken = Device::empty();
    let taken = taken.run(&taken.enter("register", &server, NAME));
    assert_eq!(taken.code, 8);
    assert!(taken.err.contains("lockstep login"), "{}", taken.err);
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_explained_and_so_is_a_wrong_fingerprint() {
    let server = Server::start();
    let device = Device::empty();
    let unknown = device.run(&["register", "--server", &server.url, "--email", NAME]);
    assert_eq!(unknown.code, 7, "{}", unknown.err);
    assert!(unknown.err.contains("--fingerprint HEX"), "{}", unknown.err);
    let wrong = "ab".repeat(32);
    let wrong = device.run(&["register", "--server", &server.url, "--email", NAME, "--fingerprint", &wrong]);
    assert_eq!(wrong.code, 7, "{}", wrong.err);
    assert!(wrong.err.contains("another fingerprint"), "{}", wrong.err);
    let nobody = device.run(&device.enter("register", &server, " "));
    assert_eq!(nobody.code, 2, "{}", nobody.err);
}

#[test]
fn a_list_with_nothing_in_it_says_so_and_a_wrong_type_is_wrong_usage() {
    let server = Server::start();
    let device = Device::registered(&server);
    for (args, said) in [
        (&["list"][..], "No entries yet"),
        (&["list", "--deleted"], "Nothing is deleted."),
        (&["factors"], "lockstep factors totp"),
        (&["identities"], "No identity elsewhere"),
    ] {
        let answer = device.run(args);
        assert_eq!((answer.code, answer.out.as_str()), (0, ""), "{args:?}");
        assert!(answer.err.contains(said), "{args:?}: {}", answer.err);
    }
    assert_eq!(device.run(&["list", "--type", "logins"]).code, 2);
    device.ok(&["add", "visa", "--type", "card"]);
    assert_eq!(device.json(&["list", "--type", "card"]).as_array().unwrap().len(), 1);
    assert_eq!(device.json(&["list", "--type", "login"]).as_array().unwrap().len(), 0);
    let approve = device.run(&["devices", "approve"]);
    assert_eq!(approve.code, 3, "{}", approve.err);
}

#[test]
fn ctrl_c_ends_a_command_with_its_code_and_without_a_word() {
    let server = Server::start();
    let device = Device::registered(&server);
    let mut watch = device.start(&["--json", "watch"]);
    let mut first = String::new();
    BufReader::new(watch.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("\"link\""), "{first}");
    let id = watch.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ended = answer(&watch.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.err.as_str()), (130, ""));
}

#[test]
fn an_archive_comes_back_from_standard_input_and_a_file_that_is_there_is_not_lost() {
    let server = Server::start();
    let device = Device::registered(&server);
    device.ok(&["add", "mail", "--set", "password=x"]);
    let archive = server.data().join("vault.lockstep");
    let with = |args: &[&str], input: Option<&std::path::Path>| {
        let mut command = device.command(args);
        if let Some(input) = input {
            command.stdin(std::fs::File::open(input).unwrap());
        }
        answer(&command.env("LOCKSTEP_ARCHIVE_PASSWORD", "violet anchor mumbles archive").output().unwrap())
    };
    let path = archive.to_str().unwrap();
    assert_eq!(with(&["export", path], None).code, 0);
    let before = std::fs::read(&archive).unwrap();
    let refused = with(&["export", path], None);
    assert!(refused.code == 1 && refused.err.contains("--force"), "{}", refused.err);
    assert_eq!(std::fs::read(&archive).unwrap(), before);
    let read = with(&["--json", "import", "-", "--dry-run"], Some(&archive));
    assert_eq!(
        (read.json()["already_there"].as_u64(), read.json()["source"].as_str()),
        (Some(1), Some("Lockstep archive"))
    );
}
