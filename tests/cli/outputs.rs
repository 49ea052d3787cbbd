//! Where commands write what is asked for: files, and what a path names that is none.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    access::code,
    device::{Answer, Device, answer},
    server::Server,
};

/// Every command that writes what it is asked for to a path, which comes last.
const WRITERS: [&[&str]; 5] = [
    &["fixtures", "--items", "2", "--out"],
    &["file", "get", "--out"],
    &["attachment", "get", "passport", "scan", "--out"],
    &["export"],
    &["account", "export"],
];

const ARCHIVE: &str = "violet anchor mumbles archive";

/// A device whose account has one of everything.
fn full(server: &Server) -> Device {
    let device = Device::registered(server);
    device.ok(&["add", "passport", "--type", "note"]);
    let added = device.run_with(&["attachment", "add", "passport", "-", "--name", "scan"], b"a scan");
    assert_eq!(added.code, 0, "{}", added.err);
    assert_eq!(device.run_with(&["file", "put", "-"], b"a file").code, 0);
    device
}

fn writing(device: &Device, folder: &Path, writer: &[&str], to: &[&str]) -> Command {
    let mut command = device.command(&[writer, to].concat());
    command.current_dir(folder).env("LOCKSTEP_ARCHIVE_PASSWORD", ARCHIVE);
    command
}

fn wrote(device: &Device, folder: &Path, writer: &[&str], to: &[&str]) -> Answer {
    answer(&writing(device, folder, writer, to).output().unwrap())
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_dash_is_standard_output_and_a_pipe_is_written_into_without_being_replaced() {
    let server = Server::start();
    let device = full(&server);
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for writer in WRITERS {
        for stdout in ["-", "/dev/stdout"] {
            let output = writing(&device, folder.path(), writer, &[stdout]).output().unwrap();
            assert!(output.status.success() && output.stdout.len() > 5, "{writer:?} {stdout}: {output:?}");
        }
        let from = pipe.clone();
        let reader = std::thread::spawn(move || fs::read(from).unwrap());
        let to_pipe = wrote(&device, folder.path(), writer, &["pipe"]);
        assert_eq!((to_pipe.code, to_pipe.out.as_str()), (0, ""), "{writer:?}: {}", to_pipe.err);
        assert!(reader.join().unwrap().len() > 5, "{writer:?}");
    }
    assert_eq!(names(folder.path()), ["pipe"], "and no file that is called -");
}

#[test]
fn what_cannot_be_written_is_said_with_its_path_and_leaves_nothing_behind() {
    let server = Server::start();
    let device = full(&server);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    for writer in WRITERS {
        let nowhere = wrote(&device, folder.path(), writer, &["nowhere/file"]);
        assert_eq!(nowhere.code, 1, "{writer:?}: {}", nowhere.err);
        assert!(nowhere.err.contains("nowhere/file: No such file"), "{writer:?}: {}", nowhere.err);
        if writer[0] != "attachment" {
            let a_folder = wrote(&device, folder.path(), writer, &["folder"]);
            assert_eq!(a_folder.code, 1, "{writer:?}: {}", a_folder.err);
            assert!(a_folder.err.contains("folder is a folder; name a file"), "{}", a_folder.err);
        }
        if cfg!(target_os = "linux") {
            let no_room = wrote(&device, folder.path(), writer, &["/dev/full"]);
            assert_eq!(no_room.code, 1, "{writer:?}: {}", no_room.err);
            assert!(no_room.err.contains("/dev/full: No space left"), "{writer:?}: {}", no_room.err);
        }
    }
    assert_eq!(names(folder.path()), ["folder"]);
    assert_eq!(names(&folder.path().join("folder")), [""; 0]);
}

#[test]
fn a_file_is_replaced_only_when_told_to_and_a_program_is_told_what_was_written() {
    let server = Server::start();
    let device = full(&server);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    for writer in WRITERS.iter().filter(|writer| writer[0] != "fixtures") {
        fs::write(&file, "mine").unwrap();
        let refused = wrote(&device, folder.path(), writer, &["file"]);
        assert!(refused.code == 1 && refused.err.contains("--force replaces it"), "{}", refused.err);
        assert_eq!(fs::read(&file).unwrap(), b"mine", "{writer:?}");
        let told = wrote(&device, folder.path(), writer, &["file", "--force", "--json"]);
        assert_eq!(told.json()["file"], "file", "{writer:?}: {}", told.err);
        assert_ne!(fs::read(&file).unwrap(), b"mine", "{writer:?}");
    }
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn copies_of_sides_that_have_no_folder_are_said_with_the_path_and_nothing_is_chosen() {
    let server = Server::start();
    let (laptop, phone) = (full(&server), Device::logged_in(&server));
    assert_eq!(laptop.run_with(&["--offline", "file", "put", "-"], b"one").code, 0);
    assert_eq!(phone.run_with(&["file", "put", "-"], b"two").code, 0);
    laptop.ok(&["sync"]);
    let taken = laptop.home().join("taken");
    fs::write(&taken, "").unwrap();
    let refused = laptop.run(&["file", "resolve", "--keep-both", taken.to_str().unwrap()]);
    assert!(refused.code == 1 && refused.err.contains("taken: "), "{}", refused.err);
    assert_eq!(laptop.run(&["file", "resolve"]).code, 5, "still two");
}

#[cfg(target_os = "linux")]
#[test]
fn codes_that_were_made_and_could_not_be_shown_are_said_to_be_made() {
    let server = Server::start();
    let device = Device::registered(&server);
    let lost = |args: &[&str], code: &str| {
        let full = fs::File::create("/dev/full").unwrap();
        let child =
            device.command(args).env("LOCKSTEP_CODE", code).stdout(full).stderr(Stdio::piped()).spawn();
        answer(&child.unwrap().wait_with_output().unwrap())
    };
    for args in [&["recovery", "new"][..], &["--json", "recovery", "new"]] {
        let lost = lost(args, "");
        assert_eq!(lost.code, 1, "{args:?}: {}", lost.err);
        for wanted in [
            "was made and not shown",
            "the one before is worthless",
            "No space left",
            "lockstep recovery new",
        ] {
            assert!(lost.err.contains(wanted), "{args:?}: {wanted}: {}", lost.err);
        }
    }
    let app = device.json(&["factors", "totp"]);
    let (factor, secret) = (app["factor"].as_str().unwrap(), app["secret"].as_str().unwrap());
    let confirmed = lost(&["factors", "confirm", factor, &code(secret, 0)], "");
    // The next code is right already, and each is taken once.
    let made = lost(&["factors", "codes"], &code(secret, 1));
    for lost in [confirmed, made] {
        assert_eq!(lost.code, 1, "{}", lost.err);
        for wanted in ["were made and not shown", "those before are worthless", "lockstep factors codes"] {
            assert!(lost.err.contains(wanted), "{wanted}: {}", lost.err);
        }
    }
}
