//! The Dockerfile, instruction by instruction.

use std::{fs, path::Path, process::Command};

use super::text;
use crate::sources::root;

/// The instructions with their continued lines joined, without comments.
fn instructions() -> Vec<(String, String)> {
    let file = text("Dockerfile");
    let lines = file.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let split = |line: &str| {
        let (word, rest) = line.trim().split_once(' ').unwrap_or_else(|| panic!("{line} has no argument"));
        (word.to_owned(), rest.trim().to_owned())
    };
    joined.lines().map(split).collect()
}

/// The instructions of the last stage: those of the image.
fn image() -> Vec<(String, String)> {
    let mut all = instructions();
    let start = all.iter().rposition(|(word, _)| word == "FROM").unwrap();
    all.split_off(start)
}

fn only(word: &str) -> String {
    let found: Vec<_> = image().into_iter().filter(|(name, _)| name == word).collect();
    assert_eq!(found.len(), 1, "{word} stands once in the image's stage");
    found[0].1.clone()
}

#[test]
fn only_known_instructions_stand_in_the_dockerfile() {
    let known = [
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "VOLUME",
        "EXPOSE",
        "STOPSIGNAL",
        "ENV",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    ];
    for (word, _) in instructions() {
        assert!(known.contains(&word.as_str()), "{word}");
    }
}

#[test]
fn the_image_holds_only_what_an_earlier_stage_built() {
    let all = instructions();
    let stages: Vec<_> =
        all.iter().filter(|(word, _)| word == "FROM").map(|(_, rest)| rest.as_str()).collect();
    assert_eq!(stages.len(), 2, "one stage builds, one is the image");
    for stage in &stages {
        let base = stage.split(' ').next().unwrap();
        assert!(base.contains(':') && !base.ends_with(":latest"), "{base} is not pinned");
    }
    let name = stages[0].rsplit_once(" AS ").unwrap().1;
    for (word, rest) in image() {
        assert_ne!(word, "RUN", "the image has no shell to run {rest} with");
        assert!(word != "COPY" || rest.contains(&format!("--from={name} ")), "{rest} comes from the outside");
    }
}

#[test]
fn it_builds_with_the_committed_lock_and_at_least_the_rust_we_ask_for() {
    let all = instructions();
    let build = all.iter().find(|(word, rest)| word == "RUN" && rest.contains("cargo build")).unwrap();
    assert!(build.1.contains("--features distributed"), "the image can be either mode");
    assert!(build.1.contains("--locked") && build.1.contains("--release") && build.1.contains("type=cache"));
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let asked = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    let used = all[0].1.trim_start_matches("rust:").split('-').next().unwrap();
    let parts = |version: &str| version.split('.').map(|part| part.parse().unwrap()).collect::<Vec<u32>>();
    assert!(parts(used) >= parts(asked), "the image builds with {used}, Cargo.toml asks for {asked}");
}

#[test]
fn the_server_runs_without_rights_and_is_asked_for_its_health() {
    assert_eq!(only("USER"), "nonroot");
    assert!(image()[0].1.ends_with(":nonroot"));
    assert_eq!(only("VOLUME"), "/data");
    assert!(only("HEALTHCHECK").contains("lockstepd"));
    assert!(only("ENTRYPOINT").starts_with('['), "without a shell, signals reach the server");
    let defaults: toml::Table = text("src/config.default.toml").parse().unwrap();
    let port = defaults["listen"].as_str().unwrap().rsplit(':').next().unwrap();
    assert_eq!(only("EXPOSE"), port);
    for variable in only("ENV").split_whitespace() {
        let (name, _) = variable.split_once('=').unwrap();
        let option = name.strip_prefix("LOCKSTEP_").unwrap().to_lowercase();
        assert!(defaults.contains_key(&option), "{name} is no option of the server");
    }
}

/// The folder that a build of the image gets, as `.dockerignore` leaves it.
fn context() -> tempfile::TempDir {
    let context = tempfile::tempdir().unwrap();
    let ignore = text(".dockerignore");
    for path in ignore.lines().filter_map(|line| line.strip_prefix('!')) {
        copied(&root().join(path), &context.path().join(path));
    }
    context
}

fn copied(from: &Path, to: &Path) {
    if from.is_dir() {
        for one in fs::read_dir(from).unwrap() {
            let one = one.unwrap();
            copied(&one.path(), &to.join(one.file_name()));
        }
    } else if from.extension().is_none_or(|kind| kind != "md") {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

#[test]
fn what_the_build_reads_is_not_ignored() {
    let context = context();
    for path in ["src/main.rs", "migrations/postgres", ".cargo/config.toml", "api/src/words.txt"] {
        assert!(context.path().join(path).exists(), "{path} does not reach the build");
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"]);
    let read = cargo.current_dir(&context).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}
