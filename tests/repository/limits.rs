//! A limit that stands in the table is one that something is counted by.

use lockstepd::limits::TABLE;

use crate::sources::{expect_none, rust};

#[test]
fn every_action_of_the_table_is_counted_somewhere() {
    let elsewhere = rust().into_iter().filter(|source| {
        source.path.starts_with("src/") && source.path != "src/limits/table.rs" && !source.is_test()
    });
    let code: String = elsewhere.map(|source| source.shipped()).collect();
    let is_named = |name: &str| {
        let after = |(at, _): (usize, &str)| code[at + name.len()..].chars().next();
        code.match_indices(name).map(after).any(|next| next.is_none_or(|next| !next.is_alphanumeric()))
    };
    let names = TABLE.iter().map(|rules| format!("Action::{:?}", rules.action));
    expect_none("a limit is used by something", &names.filter(|name| !is_named(name)).collect::<Vec<_>>());
    assert!(is_named("Action::Login") && !is_named("Action::Log"), "whole names are looked for");
}
