//! `lockstepd log export`, and who verifies a log without the server; what is gone from a log, with and without a reason.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::{
    device::Device,
    mode::Mode,
    server::Server,
    verify::{Damaged, found, with_a_reason},
};

in_both_modes! {
    a_log_in_a_file_is_verified_without_its_server_and_ends_as_the_log_does,
    a_log_that_is_not_whole_is_exported_as_it_is_and_the_file_shows_it,
    what_is_gone_without_a_reason_is_told_from_what_was_purged,
}

/// `lockstepd log verify …` where there is no server.
fn elsewhere(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstepd"));
    command.env_clear().current_dir(folder).args(["log", "verify"]).args(args).output().unwrap()
}

fn of_file(file: &Path, args: &[&str]) -> Output {
    elsewhere(file.parent().unwrap(), &[&["--file", file.to_str().unwrap()], args].concat())
}

/// The same by the second implementation: the hash, or what is wrong.
fn by_python(file: &Path) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("events/verify_log.py");
    let answer = Command::new("python3").arg(script).arg(file).output().unwrap();
    let said = |text: Vec<u8>| String::from_utf8(text).unwrap().trim_end().to_owned();
    if answer.status.success() { Ok(said(answer.stdout)) } else { Err(said(answer.stderr)) }
}

fn export(server: &Server, args: &[&str]) -> Output {
    server.operator().args(["log", "export"]).args(args).output().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn a_log_in_a_file_is_verified_without_its_server_and_ends_as_the_log_does(mode: Mode) {
    let mut server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "one", "--set", "username=x"]);
    laptop.ok(&["admin", "bootstrap", server.bootstrap_token().trim()]);
    laptop.ok(&["admin", "user", "show", crate::device::NAME, "--reason=asked by telephone"]);
    let folder = tempfile::tempdir().unwrap();
    let [early, late, full] = ["early", "late", "full"].map(|name| folder.path().join(name));
    let text = |path: &Path| path.to_str().unwrap().to_owned();

    // Beside the running server.
    let (code, first) = found(&export(&server, &["--json", "--out", &text(&early)]));
    assert_eq!((code, first["faulty"].as_u64()), (Some(0), Some(0)), "{first}");
    laptop.ok(&["add", "two", "--set", "username=x"]);
    server.kill();
    let refused = export(&server, &["--out", &text(&early)]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("exists"), "{said}");
    assert!(export(&server, &["--to", &text(&late)]).status.success());
    assert!(export(&server, &["--contents", "--out", &text(&full)]).status.success());
    assert_eq!(export(&server, &[]).stdout, fs::read(&late).unwrap());
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&late).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }

    let (_, log) = found(&server.operator().args(["log", "verify", "--json"]).output().unwrap());
    let ends = |found: &Value| {
        ["log_id", "position", "hash", "ends", "events", "streams", "followed"]
            .map(|part| found[part].clone())
    };
    for (file, contents) in [(&late, false), (&full, true)] {
        let (code, read) = found(&of_file(file, &["--json"]));
        assert_eq!((code, ends(&read)), (Some(0), ends(&log)), "{read}");
        assert_eq!(by_python(file), Ok(log["hash"].as_str().unwrap().to_owned()));
        for what in ["contents", "sealed"] {
            let counted = read[what].as_u64().unwrap();
            assert!(log[what].as_u64().unwrap() > 0);
            assert_eq!(counted, if contents { log[what].as_u64().unwrap() } else { 0 }, "{what}");
        }
    }
    let last = String::from_utf8(of_file(&late, &[]).stdout).unwrap();
    let said = server.operator().args(["log", "verify"]).output().unwrap().stdout;
    assert_eq!(last.lines().last(), String::from_utf8(said).unwrap().lines().last());
    assert_eq!(found(&of_file(&early, &["--json"])), (Some(0), Value::clone(&without_contents(&first))));

    // What was read of the one is compared with the other, whichever was read first.
    let kept = folder.path().join("audit.json");
    fs::write(&kept, serde_json::to_vec(&first).unwrap()).unwrap();
    assert!(of_file(&late, &["--since", &text(&kept), "--quiet"]).status.success());
    fs::write(&kept, of_file(&early, &["--json"]).stdout).unwrap();
    let since = server.operator().args(["log", "verify", "--since", &text(&kept)]).output().unwrap();
    assert!(since.status.success(), "{}", String::from_utf8(since.stdout).unwrap());
    fs::write(&kept, of_file(&late, &["--json"]).stdout).unwrap();
    let shorter = of_file(&early, &["--since", &text(&kept)]);
    let said = String::from_utf8(shorter.stdout).unwrap();
    assert!(shorter.status.code() == Some(1) && said.contains("that audit read it up to"), "{said}");
}

/// What is found in a file that has neither ciphertexts nor sealed parts.
fn without_contents(found: &Value) -> Value {
    let mut found = found.clone();
    (found["contents"], found["sealed"]) = (0.into(), 0.into());
    found
}

#[test]
fn what_is_changed_in_a_file_of_a_log_or_missing_there_is_found() {
    let server = with_a_reason(Mode::Embedded);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.jsonl");
    assert!(export(&server, &["--contents", "--out", file.to_str().unwrap()]).status.success());
    let whole = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let all = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let but = |n: usize, line: &str| {
        let mut lines = lines.clone();
        lines[n] = line;
        all(&lines)
    };
    let (last, end) = (lines.len() - 2, lines.len() - 1);
    let with = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
    let changed = |n: usize, from: &str, to: &str| {
        assert!(lines[n].contains(from), "{}", lines[n]);
        but(n, &lines[n].replacen(from, to, 1))
    };
    let another = |key: &str| format!("\"{key}\":\"{}\"", "00".repeat(32));
    let hash = lines[end].split("\"hash\":").nth(1).unwrap().trim_end_matches('}');
    let (content, sealed) = (with("\"content\":\""), with("\"sealed\":{"));
    for (file, what) in [
        (all(&[&lines[..3], &lines[4..]].concat()), "what stands before it in the log is missing"),
        (
            all(&[&lines[..3], &[lines[4], lines[3]], &lines[5..]].concat()),
            "what stands before it in the log",
        ),
        (all(&lines[..end]), "it was cut off"),
        (all(&[&lines[..last], &lines[end..]].concat()), "and says that the log went on up to"),
        (all(&lines[..3]), "and says that the log went on up to"),
        (whole[..whole.len() / 2].to_owned(), "cannot be read"),
        (changed(3, "\"recorded_at\":1", "\"recorded_at\":2"), "it is not what its chain was made of"),
        (changed(3, "\"public\":\"{", "\"public\":\" {"), "it is not what its chain was made of"),
        (changed(3, "\"seq\":", "\"seq\":1"), "what stands before it in its stream is missing"),
        (changed(4, "\"stream_kind\":\"account\"", "\"stream_kind\":\"vault\""), "of another kind"),
        (changed(3, "\"schema\":", "\"shema\":"), "cannot be read"),
        (changed(content, "\"content\":\"", "\"content\":\"AAAA"), "its ciphertext does not have its hash"),
        (changed(sealed, "\"bytes\":\"", "\"bytes\":\"AAAA"), "its sealed part does not have its hash"),
        (
            changed(end, &format!("\"hash\":{hash}"), &another("hash")),
            "the file says that the log and its streams ended",
        ),
        (changed(end, "\"events\":", "\"events\":1"), "the file says that there were"),
        (changed(0, "\"position\":", "\"position\":1"), "and says that the log went on up to"),
        (all(&[&lines[..], &lines[last..end]].concat()), "stands where it does not belong"),
        (all(&[&lines[..], &lines[..1]].concat()), "stands where it does not belong"),
    ] {
        let path = folder.path().join("changed.jsonl");
        fs::write(&path, file).unwrap();
        let answer = of_file(&path, &[]);
        let said = String::from_utf8(answer.stdout).unwrap();
        assert!(answer.status.code() == Some(1) && said.contains(what), "{what}: {said}");
        assert!(!said.contains("is whole"), "{said}");
        let second = by_python(&path);
        let is_found = second.as_ref().is_err_and(|why| why.contains("not whole"));
        assert_eq!(is_found, what != "of another kind", "{what}: {second:?}");
    }
    // Something else altogether.
    for (file, what) in [
        (String::new(), "it is empty"),
        ("a text\n".repeat(2000), "line 1: cannot be read"),
        (all(&lines[1..]), "it has no first line"),
        (changed(0, "\"format\":1", "\"format\":2"), "format 2; this program reads 1"),
        (format!("{}\n{}", lines[0], "a text\n".repeat(2000)), "line 2: cannot be read"),
    ] {
        let path = folder.path().join("other");
        fs::write(&path, file).unwrap();
        let answer = of_file(&path, &[]);
        let said = String::from_utf8(answer.stderr).unwrap();
        assert!(
            answer.status.code() == Some(2) && answer.stdout.is_empty() && said.contains(what),
            "{what}: {said}"
        );
    }
    // By standard input, as out of an archive.
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstepd"));
    let stdin = Stdio::from(fs::File::open(&file).unwrap());
    let answer = command.args(["log", "verify", "--file", "-"]).env_clear().stdin(stdin).output().unwrap();
    assert!(answer.status.success() && String::from_utf8(answer.stdout).unwrap().contains("is whole"));
}

#[cfg(unix)]
#[test]
fn an_export_that_finds_no_room_leaves_nothing_behind() {
    let server = Server::start_in(Mode::Embedded);
    let laptop = Device::registered(&server);
    let long = format!("username={}", "x".repeat(12_000));
    for name in ["one", "two", "three", "four"] {
        laptop.ok(&["add", name, "--set", &long]);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.jsonl");
    let lockstepd = env!("CARGO_BIN_EXE_lockstepd");
    let mut export = Command::new("sh");
    // No file may have more than 40 KiB: the database makes one of 32.
    export
        .args(["-c", "trap '' XFSZ; ulimit -f 80; exec \"$0\" \"$@\"", lockstepd, "--data"])
        .arg(server.data());
    let answer = export.args(["log", "export", "--contents", "--out"]).arg(&file).output().unwrap();
    let said = String::from_utf8(answer.stderr).unwrap();
    assert!(answer.status.code() == Some(1) && said.contains("log.jsonl: File too large"), "{said}");
    assert_eq!(names(folder.path()), [""; 0]);
}

fn a_log_that_is_not_whole_is_exported_as_it_is_and_the_file_shows_it(mode: Mode) {
    let server = with_a_reason(mode);
    let folder = tempfile::tempdir().unwrap();
    for (n, how) in [
        "UPDATE events SET chain = substr(chain, 1, 2) WHERE position = 3",
        "UPDATE events SET public = replace(public, 'device', 'thing') WHERE position > 2",
        "DELETE FROM events WHERE position = 3",
        "DELETE FROM events WHERE position = (SELECT max(position) FROM events) - 1",
    ]
    .into_iter()
    .enumerate()
    {
        let copy = Damaged::copy(&server, how);
        let file = folder.path().join(n.to_string());
        let answer = copy.lockstepd(&["log", "export", "--json", "--out", file.to_str().unwrap()]);
        let said = String::from_utf8(answer.stderr.clone()).unwrap();
        let (code, exported) = found(&answer);
        assert!(code == Some(1) && said.contains("the log is not whole"), "{how}: {said}");
        let (code, read) = found(&of_file(&file, &["--json"]));
        assert_eq!((code, &read["hash"]), (Some(1), &exported["hash"]), "{how}: {read}");
        let places = |found: &Value| {
            let faults = found["faults"].as_array().unwrap();
            faults.iter().map(|fault| fault["position"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        let (of_log, of_file) = (places(&exported), places(&read));
        assert!(
            !of_file.is_empty() && of_file.iter().all(|place| of_log.contains(place)),
            "{how}: {read} {exported}"
        );
    }
}

fn what_is_gone_without_a_reason_is_told_from_what_was_purged(mode: Mode) {
    let mut server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    for name in ["one", "two"] {
        laptop.ok(&["add", name, "--set", "username=x"]);
    }
    laptop.ok(&["purge", "two", "--yes"]);
    laptop.ok(&["email", "set", "other@example.org"]);
    laptop.ok(&["admin", "bootstrap", server.bootstrap_token().trim()]);
    laptop.ok(&["admin", "user", "show", crate::device::NAME, "--reason=asked by telephone"]);
    server.kill();
    let (content, sealed) = (
        "its ciphertext is gone, and no pruning, purge or erasure says why",
        "its sealed part is gone, and neither an erasure nor its age says why",
    );
    for (how, what, times) in [
        ("SELECT 1", "", 0),
        ("DELETE FROM contents WHERE hash = (SELECT hash FROM contents ORDER BY hash LIMIT 1)", content, 1),
        ("DELETE FROM event_sealed WHERE purpose = 'audit'", sealed, 2),
        ("DELETE FROM event_sealed WHERE purpose = 'identity'", sealed, 2),
    ] {
        let copy = Damaged::copy(&server, how);
        let (code, found) = found(&copy.lockstepd(&["log", "verify", "--json"]));
        let faults = found["faults"].as_array().unwrap();
        assert_eq!((code, faults.len()), (Some(i32::from(times > 0)), times), "{how}: {found}");
        assert!(faults.iter().all(|fault| fault["what"] == what), "{how}: {found}");
    }
}
