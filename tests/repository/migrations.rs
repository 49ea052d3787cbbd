//! Both databases go through the same steps.

use crate::sources::ending_with;
use std::collections::BTreeSet;

fn names(database: &str) -> BTreeSet<String> {
    let folder = format!("migrations/{database}/");
    let all = ending_with(&[".sql"]).into_iter().filter(|source| source.path.starts_with(&folder));
    all.map(|source| source.path.rsplit('/').next().unwrap().to_owned()).collect()
}

#[test]
fn postgres_and_sqlite_have_the_same_migrations() {
    assert_eq!(names("postgres"), names("sqlite"));
}

#[test]
fn a_migration_says_why() {
    for source in ending_with(&[".sql"]).iter().filter(|source| source.path.starts_with("migrations/")) {
        assert!(source.text.trim_start().starts_with("--"), "{} begins without a comment", source.path);
    }
}
