//! Every read store of the server passes the contract suite, and so does every store of rate limits.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod database;
mod lookups;
mod operate;
mod rates;

mod sqlite {
    use std::{
        path::PathBuf,
        sync::atomic::{AtomicU32, Ordering},
    };

    use lockstepd::adapters::sqlite::read::SqliteReads;

    static NEXT: AtomicU32 = AtomicU32::new(0);

    fn folder() -> PathBuf {
        static FOLDER: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
        FOLDER.get_or_init(|| tempfile::tempdir().unwrap()).path().to_owned()
    }

    async fn open() -> SqliteReads {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        SqliteReads::open(&folder().join(format!("reads-{n}.db"))).await.unwrap()
    }

    lockstep_projections::read_store_contract!(open);
}

#[cfg(feature = "distributed")]
mod postgres {
    use lockstepd::adapters::postgres::read::PostgresReads;

    async fn open() -> PostgresReads {
        PostgresReads::new(crate::database::new().await.pool().clone())
    }

    lockstep_projections::read_store_contract!(open);
}
