//! Who may depend on whom, crate by crate.

use crate::sources::root;
use std::collections::BTreeSet;

/// The names that a package's manifest lists under `[dependencies]`.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let listed = manifest.get("dependencies").and_then(toml::Value::as_table);
    listed.into_iter().flat_map(toml::Table::keys).cloned().collect()
}

/// Those of them that are ours, without the common prefix.
fn ours(folder: &str) -> Vec<String> {
    let all = dependencies(folder);
    all.iter().filter_map(|name| name.strip_prefix("lockstep-")).map(str::to_owned).collect()
}

#[test]
fn crates_import_each_other_only_along_the_roads_of_the_architecture() {
    assert_eq!(ours("events"), [""; 0]);
    assert_eq!(ours("projections"), ["events"]);
    assert_eq!(ours("api"), ["events"]);
    assert_eq!(ours("client"), ["api", "events"]);
    assert_eq!(ours("."), ["api", "events", "projections"]);
    assert_eq!(ours("xtask"), [""; 0]);
}

#[test]
fn an_auditor_can_depend_on_events_without_a_database_a_server_or_a_runtime() {
    let heavy = ["sqlx", "axum", "tokio", "hyper", "reqwest", "async-nats", "aws-sdk-s3", "rustls"];
    let listed = dependencies("events");
    assert!(
        !heavy.iter().any(|name| listed.contains(*name)),
        "events depends on one of {heavy:?}: {listed:?}"
    );
}

#[test]
fn the_read_side_has_no_database() {
    let listed = dependencies("projections");
    assert!(!listed.contains("sqlx"), "projections depends on sqlx");
}

#[test]
fn every_crate_obeys_the_workspaces_lints() {
    for folder in [".", "events", "projections", "api", "client", "xtask"] {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{folder}/Cargo.toml");
    }
}
