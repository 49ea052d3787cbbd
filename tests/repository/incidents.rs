//! Incidents of others, and the test here that would have met each.

use crate::sources::{root, rust};

#[test]
fn every_test_that_is_named_for_an_incident_exists() {
    let document = std::fs::read_to_string(root().join("docs/incidents.md")).unwrap();
    let sources = rust();
    let mut named = 0;
    for line in document.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let tests = line.rsplit('|').nth(1).unwrap();
        for test in tests.split('`').skip(1).step_by(2) {
            let function = format!("fn {test}(");
            let exists = sources.iter().any(|source| source.text.contains(&function));
            assert!(exists, "docs/incidents.md names {test}, which is no test");
            named += 1;
        }
    }
    assert!(named > 5, "{named}");
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
