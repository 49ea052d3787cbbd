//! The `lockstep` command where it needs no server: help, exit codes, generated things, files to import.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    path::Path,
    process::{Command, Output},
};

struct Answer {
    code: i32,
    out: String,
    err: String,
}

fn lockstep(home: &Path, args: &[&str]) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.args(args).env("LOCKSTEP_HOME", home).env_remove("LOCKSTEP_PASSWORD").env_remove("NO_COLOR");
    answer(&command.output().unwrap())
}

fn answer(output: &Output) -> Answer {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Answer { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn without_a_profile_every_verb_that_needs_one_says_how_to_get_one_with_code_4() {
    let home = home();
    for args in [
        &["list"][..],
        &["get", "a"],
        &["sync"],
        &["status"],
        &["lock"],
        &["conflicts"],
        &["export", "x"],
        &["file", "get"],
        &["watch"],
        &["api", "GET", "/v1/streams"],
    ] {
        let answer = lockstep(home.path(), args);
        assert_eq!(answer.code, 4, "{args:?}: {}", answer.err);
        assert!(
            answer.err.contains("lockstep register") && answer.err.lines().count() == 1,
            "{}",
            answer.err
        );
        assert_eq!(answer.out, "");
    }
}

#[test]
fn wrong_usage_ends_with_code_2_and_help_with_code_0() {
    let home = home();
    assert_eq!(lockstep(home.path(), &["nonsense"]).code, 2);
    assert_eq!(lockstep(home.path(), &["get"]).code, 2);
    assert_eq!(lockstep(home.path(), &["generate", "--length", "2"]).code, 2);
    assert_eq!(
        lockstep(home.path(), &["register", "--server", "http://plain.example", "--email", "a"]).code,
        2
    );
    let help = lockstep(home.path(), &["help", "resolve"]);
    assert_eq!(help.code, 0);
    assert!(help.out.contains("--keep-both") && help.out.contains("Examples:"));
    assert_eq!(lockstep(home.path(), &["help", "nonsense"]).code, 2);
}

#[test]
fn errors_are_one_line_and_with_json_one_document() {
    let home = home();
    let answer = lockstep(home.path(), &["--json", "list"]);
    let error: serde_json::Value = serde_json::from_str(&answer.err).unwrap();
    assert_eq!(error["error"]["code"], "locked");
    assert_eq!(error["error"]["exit"], 4);
    assert!(error["error"]["advice"].as_str().unwrap().contains("lockstep login"));
}

#[test]
fn exit_codes_are_listed_once_each() {
    let home = home();
    let list = lockstep(home.path(), &["--json", "help", "exit-codes"]).out;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    let codes: std::collections::BTreeSet<u64> =
        list.iter().map(|one| one["exit"].as_u64().unwrap()).collect();
    assert_eq!(codes.len(), list.len());
    assert!((0..=9).all(|code| codes.contains(&code)));
}

#[test]
fn fixtures_are_the_same_for_the_same_seed_and_import_recognises_every_format() {
    let home = home();
    for (format, source) in [
        ("bitwarden", "Bitwarden JSON"),
        ("csv", "Chrome CSV"),
        ("firefox", "Firefox CSV"),
        ("keepass", "KeePass 2 XML"),
    ] {
        let file = home.path().join(format);
        let file = file.to_str().unwrap();
        let made = lockstep(
            home.path(),
            &["fixtures", "--items", "40", "--seed", "5", "--format", format, "--out", file],
        );
        assert_eq!(made.code, 0, "{}", made.err);
        let again = lockstep(home.path(), &["fixtures", "--items", "40", "--seed", "5", "--format", format]);
        assert_eq!(again.out, std::fs::read_to_string(file).unwrap());
        let dry = lockstep(home.path(), &["--json", "import", file, "--dry-run"]);
        let report: serde_json::Value = serde_json::from_str(&dry.out).unwrap();
        assert_eq!((report["source"].as_str(), report["items"].as_u64()), (Some(source), Some(40)));
        assert_eq!(report["imported"], false);
    }
}

#[test]
fn a_bad_file_is_named_with_its_line_and_what_to_do() {
    let home = home();
    let file = home.path().join("broken.json");
    std::fs::write(&file, "{\n\"items\": [\n").unwrap();
    let answer = lockstep(home.path(), &["import", file.to_str().unwrap()]);
    assert_eq!(answer.code, 1);
    assert!(
        answer.err.contains("broken.json, line 3") && answer.err.contains("Nothing was imported"),
        "{}",
        answer.err
    );
    assert_eq!(lockstep(home.path(), &["import", "/nowhere.csv"]).code, 3);
}

#[test]
fn generated_passwords_go_to_standard_output_alone() {
    let home = home();
    let one = lockstep(home.path(), &["generate", "--length", "32", "--no-symbols"]);
    assert!(one.out.trim_end().len() == 32 && one.out.trim_end().bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_eq!(one.err, "");
    let words = lockstep(home.path(), &["--json", "generate", "--words", "7", "--count", "3"]);
    let lines: Vec<serde_json::Value> =
        words.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["bits"], 70.0);
    assert_ne!(lines[0]["password"], lines[1]["password"]);
}

#[test]
fn completions_and_manual_pages_know_every_verb() {
    let home = home();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = lockstep(home.path(), &["completions", shell]).out;
        assert!(script.contains("conflicts"), "{shell}");
        assert!(!script.contains("fixtures") && !script.contains("agent"), "{shell}: what is hidden");
    }
    let dir = home.path().join("man");
    assert_eq!(lockstep(home.path(), &["man", "--dir", dir.to_str().unwrap()]).code, 0);
    let pages: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|page| page.unwrap().file_name()).collect();
    for page in ["lockstep.1", "lockstep-resolve.1", "lockstep-get.1"] {
        assert!(pages.iter().any(|name| name == page), "{page}");
    }
    assert!(!pages.iter().any(|name| name == "lockstep-agent.1" || name == "lockstep-fixtures.1"));
    let main = std::fs::read_to_string(dir.join("lockstep.1")).unwrap();
    assert!(main.contains(".SH \"EXIT STATUS\"") && main.contains("A first session"));
    assert!(main.contains(".SH JSON") && main.contains("LOCKSTEP_ARCHIVE_PASSWORD"));
    let file = std::fs::read_to_string(dir.join("lockstep-file.1")).unwrap();
    // Its title says which program it is of, and an example stands as it is typed.
    assert!(file.starts_with(".TH \"LOCKSTEP-FILE\" 1 \"\" \"lockstep "), "{file}");
    assert!(file.contains(".SH EXAMPLES\n.nf\n"), "{file}");
}

#[test]
fn the_manual_pages_in_the_repository_are_fresh() {
    let home = home();
    let dir = home.path().join("man");
    assert_eq!(lockstep(home.path(), &["man", "--dir", dir.to_str().unwrap()]).code, 0);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man");
    let mut made = 0;
    for page in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
        let name = page.file_name();
        let fresh = std::fs::read_to_string(page.path()).unwrap();
        let stored = std::fs::read_to_string(kept.join(&name)).unwrap_or_default();
        assert!(fresh == stored, "{name:?} is stale: lockstep man --dir docs/man");
        made += 1;
    }
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), made, "a page of a verb that is gone");
}

#[test]
fn a_verb_that_is_missing_brings_help_also_where_a_profile_is_named_in_the_environment() {
    let home = home();
    for (args, shows) in [(&[][..], "A first session"), (&["file"], "lockstep file put")] {
        let answer = lockstep(home.path(), args);
        assert_eq!((answer.code, answer.out.as_str()), (2, ""), "{args:?}");
        assert!(answer.err.contains(shows) && !answer.err.contains("fixtures"), "{}", answer.err);
    }
}

#[test]
fn what_scripts_want_to_know_has_its_topics() {
    let home = home();
    for (topic, says) in [("json", "\"advice\""), ("environment", "LOCKSTEP_CODE")] {
        let answer = lockstep(home.path(), &["help", topic]);
        assert_eq!(answer.code, 0, "{}", answer.err);
        assert!(answer.out.contains(says), "{}", answer.out);
        assert!(answer.out.lines().all(|line| line.chars().count() <= 118), "it is wrapped: {}", answer.out);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_gets_no_room_is_a_failure_that_says_whose() {
    let home = home();
    for args in [&["generate"][..], &["help"], &["--help"], &["fixtures", "--items", "1"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        let output = command.args(args).env("LOCKSTEP_HOME", home.path()).stdout(full).output().unwrap();
        let answer = answer(&output);
        assert_eq!(answer.code, 1, "{args:?}");
        assert!(answer.err.contains("standard output: No space left"), "{args:?}: {}", answer.err);
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let home = home();
    let script = format!("{} fixtures --items 3000 | head -c 10", env!("CARGO_BIN_EXE_lockstep"));
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", &script])
        .env("LOCKSTEP_HOME", home.path())
        .output();
    let answer = answer(&output.unwrap());
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
}
