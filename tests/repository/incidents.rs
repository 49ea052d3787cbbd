//! Incidents of others, and the test here that would have met each.

use crate::sources::{root, rust};

/// The page says these, each once: what was learnt is not lost by an edit.
const INCIDENTS: [&str; 21] = [
    "CVE-2026-27898",
    "Dashlane, 2026-05-31",
    "ETH Zurich, ePrint 2026/058 (25 attacks)",
    "MEGA, Nextcloud, Sync, pCloud, Seafile, Icedrive (ETH Zurich, 2022 to 2024)",
    "Bitwarden, pull request 11332",
    "CVE-2026-27801",
    "CVE-2026-43911",
    "CVE-2026-43913",
    "CVE-2026-31835",
    "GHSA-96f7",
    "GHSA-rxhg",
    "GHSA-hw4g, GHSA-vh5m",
    "CVE-2026-47164, CVE-2026-47158",
    "mail scanners that follow links (many)",
    "GHSA-h6cc",
    "CVE-2026-25537 (jsonwebtoken)",
    "credential stuffing behind a spoofed header",
    "names told by answers or their time",
    "a restored backup that brings deleted people back (many)",
    "a table that an erasure forgot (many)",
    "secrets in logs (many)",
];

/// Each incident of the page, and the tests that are named for it.
fn incidents(document: &str) -> Vec<(&str, Vec<&str>)> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
    rows.map(|row| {
        let tests = row.rsplit('|').nth(1).unwrap();
        (row.split(" | ").next().unwrap(), tests.split('`').skip(1).step_by(2).collect())
    })
    .collect()
}

#[test]
fn every_incident_is_on_the_page_once_with_tests_that_exist() {
    let document = std::fs::read_to_string(root().join("docs/incidents.md")).unwrap();
    let sources = rust();
    let all = incidents(&document);
    assert_eq!(all.iter().map(|(incident, _)| *incident).collect::<Vec<_>>(), INCIDENTS);
    for (incident, tests) in all {
        assert!(!tests.is_empty(), "{incident}: no test");
        for test in tests {
            let function = format!("fn {test}(");
            let exists = sources.iter().any(|source| source.text.contains(&function));
            assert!(exists, "docs/incidents.md names {test}, which is no test");
        }
    }
}

#[test]
fn the_server_may_start_no_other_program() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let banned = read("clippy.toml");
    for path in ["std::process::Command", "tokio::process::Command"] {
        assert!(banned.contains(&format!("path = \"{path}\"")), "{path}");
    }
    for root in ["src/lib.rs", "src/main.rs"] {
        assert!(read(root).contains("#![deny(clippy::disallowed_types)]"), "{root}");
    }
}
