//! What must not be committed.

use crate::sources::{ending_with, expect_none, lines_where, rust};

const LONGEST_FILE: usize = 450;
const LONGEST_DECISION: usize = 60;

#[test]
fn no_file_is_longer_than_a_person_wants_to_read() {
    let long = rust().into_iter().map(|source| (source.text.lines().count(), source.path));
    let long =
        long.filter(|(lines, _)| *lines > LONGEST_FILE).map(|(lines, path)| format!("{path}: {lines} lines"));
    expect_none(&format!("no file has more than {LONGEST_FILE} lines"), &long.collect::<Vec<_>>());
}

#[test]
fn a_decision_fits_on_a_page() {
    let decisions = ending_with(&[".md"]).into_iter().filter(|source| source.path.starts_with("docs/adr/"));
    let long = decisions.map(|source| (source.text.lines().count(), source.path));
    let long = long
        .filter(|(lines, _)| *lines > LONGEST_DECISION)
        .map(|(lines, path)| format!("{path}: {lines} lines"));
    expect_none(&format!("no ADR has more than {LONGEST_DECISION} lines"), &long.collect::<Vec<_>>());
}

#[test]
fn no_test_is_switched_off_and_nothing_is_put_off() {
    // Put together here, so that this file does not find itself.
    let words = [
        ["#[ign", "ore"].concat(),
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["unimple", "mented!"].concat(),
    ];
    let mut found = Vec::new();
    for source in rust() {
        found.extend(lines_where(&source.path, &source.text, |line| {
            words.iter().any(|word| line.contains(word))
        }));
    }
    expect_none("no ignored test, nothing left to do", &found);
}

#[test]
fn no_path_of_somebodys_machine_is_committed() {
    let homes = ["root", "work", "home", "Users", "tmp/l"].map(|folder| format!("/{folder}/"));
    let mut found = Vec::new();
    for source in ending_with(&[".rs", ".toml", ".md", ".yml", ".yaml", ".json", ".sql", "Dockerfile", "run"])
    {
        let is_path = |line: &str| {
            homes.iter().any(|home| {
                let at = line.find(home.as_str());
                // A path begins a word; inside a URL or behind a folder it is something else.
                at.is_some_and(|at| {
                    !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '.')
                })
            })
        };
        found.extend(lines_where(&source.path, &source.text, is_path));
    }
    expect_none("no machine paths", &found);
}

#[test]
fn the_events_table_never_swallows_a_conflict() {
    let mut found = Vec::new();
    for source in ending_with(&[".rs", ".sql"]).iter().filter(|source| !source.is_in("tests/repository")) {
        let text = source.text.to_lowercase();
        for statement in text.split(';').filter(|statement| statement.contains("insert into events")) {
            let after = &statement[statement.find("insert into events").unwrap()..];
            if after.contains("on conflict") && after.contains("do nothing") {
                found.push(source.path.clone());
            }
        }
    }
    expect_none("`on conflict do nothing` is banned on the events table", &found);
}
