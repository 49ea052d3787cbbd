//! Whether tables are of the form that this program gives them.

use std::collections::BTreeSet;

use sqlx::migrate::Migrator;

/// How the tables of a database stand to those of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// They are the same.
    Same,
    /// There are none.
    Blank,
    /// An older program made them; this one would change them.
    Older,
    /// A newer program changed them.
    Newer,
}

impl Form {
    /// Where these migrations have been done.
    pub(super) fn of(migrations: &Migrator, done: &[i64]) -> Self {
        let done: BTreeSet<i64> = done.iter().copied().collect();
        let own: BTreeSet<i64> = migrations.iter().map(|migration| migration.version).collect();
        if done.is_empty() {
            Self::Blank
        } else if !done.is_subset(&own) {
            Self::Newer
        } else if done == own {
            Self::Same
        } else {
            Self::Older
        }
    }
}

/// The migrations that were done in a database, where there is such a list.
pub(super) const DONE: &str = "SELECT version FROM _sqlx_migrations WHERE success";

#[cfg(test)]
mod tests {
    use super::{super::migrations, *};

    #[test]
    fn tables_are_of_the_form_of_this_program_older_newer_or_none() {
        let own: Vec<i64> = migrations::OPERATIONS.iter().map(|migration| migration.version).collect();
        let form = |done: &[i64]| Form::of(&migrations::OPERATIONS, done);
        assert_eq!((form(&own), form(&[])), (Form::Same, Form::Blank));
        assert_eq!(form(&own[..own.len() - 1]), Form::Older);
        assert_eq!(form(&[&own[..], &[9_999]].concat()), Form::Newer);
        assert_eq!(form(&[&own[1..], &[9_999]].concat()), Form::Newer);
    }
}
