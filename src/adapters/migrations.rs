//! The migrations that a program carries in itself.
//!
//! sqlx has macros for this and for reading rows by name. They are not used: with them comes a second sqlx with a second
//! `SQLite` in it, compiled for the compiler alone.

use std::{borrow::Cow, sync::LazyLock};

#[cfg(feature = "distributed")]
use sqlx::{AssertSqlSafe, SqlSafeStr};
use sqlx::{
    SqlStr,
    migrate::{Migration, MigrationType, Migrator},
};

type File = (&'static str, &'static str);

/// A [`Migrator`] of files in a folder under `migrations/`, in the order of their numbers.
macro_rules! migrations {
    ($($(#[$about:meta])* $name:ident = $folder:literal: $($file:literal)+;)+) => {
        $($(#[$about])* pub(super) static $name: LazyLock<Migrator> = LazyLock::new(|| migrator(&[$((
            $file,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/", $folder, "/", $file)),
        )),+]));)+

        #[cfg(test)]
        const LISTED: &[(&str, &[&str])] = &[$(($folder, &[$($file),+])),+];
    };
}

migrations! {
    /// All tables of the distributed mode.
    #[cfg_attr(not(feature = "distributed"), expect(dead_code, reason = "nobody asks for it"))]
    POSTGRES = "postgres":
        "0001_log.sql"
        "0002_read.sql"
        "0003_credentials.sql"
        "0004_blobs.sql"
        "0005_store_upkeep.sql"
        "0006_served.sql"
        "0007_subject_keys.sql"
        "0008_erasures.sql"
        "0009_factors.sql"
        "0010_second_factors.sql"
        "0011_mail.sql"
        "0012_oidc.sql"
        "0015_rates.sql"
        "0016_mail_of_whom.sql"
        "0019_attempts_in_memory.sql"
        "0020_promised_room.sql"
        "0021_held_addresses.sql"
        "0022_devices_in_accounts.sql"
        "0023_names_that_wait.sql"
        "0024_factors_by_kind.sql";
    /// The log.
    LOG = "sqlite":
        "0001_log.sql"
        "0007_subject_keys.sql";
    /// Read models, in a file of their own.
    READS = "sqlite/reads":
        "0002_read.sql"
        "0022_devices_in_accounts.sql";
    /// Credentials and subject keys, in a file that can be destroyed without touching the log.
    CREDENTIALS = "sqlite/credentials":
        "0003_credentials.sql"
        "0007_subject_keys.sql"
        "0008_erasures.sql"
        "0009_factors.sql"
        "0010_second_factors.sql"
        "0011_mail.sql"
        "0012_oidc.sql"
        "0016_mail_of_whom.sql"
        "0019_attempts_in_memory.sql"
        "0021_held_addresses.sql"
        "0024_factors_by_kind.sql";
    /// Operational tables.
    OPERATIONS = "sqlite/operations":
        "0004_blobs.sql"
        "0005_store_upkeep.sql"
        "0006_served.sql"
        "0020_promised_room.sql"
        "0023_names_that_wait.sql";
    /// Counts of rate limits.
    RATES = "sqlite/rates":
        "0015_rates.sql"
        "0019_attempts_in_memory.sql";
}

/// All tables of the distributed mode, where the server's role is there. Postgres looks whether a user may make roles before
/// it looks whether this one is there, so a user who may not would be refused what need not be done.
#[cfg(feature = "distributed")]
pub(super) fn beside_the_role() -> Migrator {
    let mut all: Vec<Migration> = POSTGRES.iter().cloned().collect();
    for migration in all.iter_mut().filter(|migration| migration.version == 1) {
        let sql = migration.sql.as_str().replace(MAKES_THE_ROLE, "NULL;");
        // Its checksum stays that of the file: what is done is the same.
        migration.sql = AssertSqlSafe(sql).into_sql_str();
    }
    Migrator::with_migrations(all)
}

#[cfg(feature = "distributed")]
const MAKES_THE_ROLE: &str = "CREATE ROLE lockstep_server NOLOGIN;";

fn migrator(files: &[File]) -> Migrator {
    Migrator::with_migrations(files.iter().map(migration).collect())
}

/// `0001_log.sql` is version 1, about `log`.
fn migration((name, sql): &File) -> Migration {
    let (number, about) = name.trim_end_matches(".sql").split_once('_').unwrap_or((name, ""));
    let version = number.parse().unwrap_or(0);
    let about = Cow::Owned(about.replace('_', " "));
    Migration::new(version, about, MigrationType::Simple, SqlStr::from_static(sql), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{Connection, SqliteConnection};

    #[test]
    fn every_file_of_a_folder_is_listed_in_the_order_of_numbers() {
        for (folder, listed) in LISTED {
            let path = format!("{}/migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
            let names = std::fs::read_dir(path).unwrap().map(|file| file.unwrap().file_name().into_string());
            let mut there: Vec<String> =
                names.map(Result::unwrap).filter(|name| name.ends_with(".sql")).collect();
            there.sort();
            assert_eq!(there, *listed, "{folder}");
        }
    }

    #[cfg(feature = "distributed")]
    #[test]
    fn beside_the_role_only_its_making_is_left_out_and_each_migration_counts_as_the_same() {
        let beside = beside_the_role();
        for (all, beside) in POSTGRES.iter().zip(beside.iter()) {
            assert_eq!((all.version, &all.checksum), (beside.version, &beside.checksum));
            assert_eq!(all.sql.as_str().replace(MAKES_THE_ROLE, "NULL;"), beside.sql.as_str());
        }
        let first = beside.iter().next().unwrap();
        assert_eq!(POSTGRES.iter().count(), beside.iter().count());
        assert!(!first.sql.as_str().contains("CREATE ROLE"));
    }

    #[test]
    fn a_migration_has_the_number_and_the_words_of_its_file() {
        let migration = migration(&("0016_mail_of_whom.sql", "SELECT 1"));
        assert_eq!((migration.version, &*migration.description), (16, "mail of whom"));
        assert!(LOG.iter().chain(CREDENTIALS.iter()).all(|migration| migration.version > 0));
    }

    #[tokio::test]
    async fn rows_about_accounts_by_their_former_keys_are_filled_again_and_those_of_vaults_stay() {
        let mut file = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let before = READS.iter().filter(|migration| migration.version < 22).cloned().collect();
        Migrator::with_migrations(before).run(&mut file).await.unwrap();
        let rows = "INSERT INTO read_rows VALUES (2, 1, x'', x'0d', x'0a', 0, '{}'), (5, 1, x'0b', x'0e', NULL, 0, '{}'); \
                    UPDATE read_checkpoints SET position = 9";
        sqlx::raw_sql(rows).execute(&mut file).await.unwrap();
        READS.run(&mut file).await.unwrap();
        let left: Vec<i64> =
            sqlx::query_scalar("SELECT projection FROM read_rows").fetch_all(&mut file).await.unwrap();
        let positions: Vec<i64> =
            sqlx::query_scalar("SELECT position FROM read_checkpoints ORDER BY projection")
                .fetch_all(&mut file)
                .await
                .unwrap();
        assert_eq!((left, positions), (vec![5], vec![0, 0, 0, 9, 9, 9]));
    }
}
