//! Backups as the operators' guide describes them: the data folder, or a copy of the database; and back again.

#![allow(dead_code, reason = "each program that shares this uses a part of it")]

use std::{path::Path, time::Duration};

use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

use super::{Mode, Node};

/// A copy of a Postgres database, in the same Postgres.
pub struct Database {
    url: String,
    copy: String,
}

impl Database {
    /// Copies the database with this URL, whose servers are stopped.
    pub async fn back_up(url: &str) -> Self {
        let this = Self { url: url.to_owned(), copy: format!("backup_{}", Uuid::new_v4().simple()) };
        this.alone().await;
        this.admin(&format!("CREATE DATABASE \"{}\" TEMPLATE \"{}\"", this.copy, this.name())).await;
        this
    }

    /// An empty database beside that with this URL; its URL.
    pub async fn empty_beside(url: &str) -> String {
        let (server, _) = url.rsplit_once('/').unwrap();
        let this = Self { url: format!("{server}/empty_{}", Uuid::new_v4().simple()), copy: String::new() };
        this.admin(&format!("CREATE DATABASE \"{}\"", this.name())).await;
        this.url
    }

    /// Puts the copy in the place of the database, whose servers are stopped. What stood there keeps another name: to drop
    /// it would make Postgres write out whatever other tests have just written, which takes seconds.
    pub async fn put_back(&self) {
        let (name, gone) = (self.name(), Uuid::new_v4().simple());
        self.alone().await;
        self.admin(&format!("ALTER DATABASE \"{name}\" RENAME TO gone_{gone}")).await;
        self.admin(&format!("CREATE DATABASE \"{name}\" TEMPLATE \"{}\"", self.copy)).await;
    }

    fn name(&self) -> &str {
        self.url.rsplit_once('/').unwrap().1
    }

    /// A server that was killed leaves its sessions for a moment, and nobody else has any.
    async fn alone(&self) {
        let name = self.name();
        self.admin(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ))
        .await;
    }

    async fn admin(&self, sql: &str) {
        let (server, _) = self.url.rsplit_once('/').unwrap();
        let mut connection = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
        // Connections of the server that was just stopped may need a moment to end.
        for attempt in 0.. {
            match connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))).await {
                Ok(_) => return,
                Err(error) if attempt > 300 => panic!("{sql}: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// A backup of everything but the key file and what lies beside it.
pub struct Backup {
    folder: TempDir,
    database: Option<Database>,
}

/// Stops the server, and waits until it has closed every file of its data.
async fn halt(node: &mut Node) {
    node.stop().await;
    let mut open = Vec::new();
    for _ in 0..1200 {
        let files = std::fs::read_dir("/proc/self/fd").unwrap();
        let files = files.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        open = files.filter(|path| path.starts_with(node.data())).collect();
        if open.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("still open: {open:?}");
}

/// Stops the server, copies its databases and files, and starts it again.
pub async fn back_up(node: &mut Node, mode: Mode) -> Backup {
    halt(node).await;
    let folder = tempfile::tempdir().unwrap();
    copy_but_keys(&node.data(), folder.path());
    let database = match mode {
        Mode::Embedded => None,
        Mode::Distributed | Mode::ThreeNodes => Some(Database::back_up(&node.database()).await),
    };
    node.begin().await;
    Backup { folder, database }
}

/// Stops the server, puts the backup in the place of its databases and files, and starts it again.
pub async fn restore(node: &mut Node, backup: &Backup) {
    put_back(node, backup).await;
    node.begin().await;
}

/// Stops the server and puts the backup in the place of its databases and files.
pub async fn put_back(node: &mut Node, backup: &Backup) {
    halt(node).await;
    for entry in std::fs::read_dir(node.data()).unwrap() {
        let path = entry.unwrap().path();
        match (path.ends_with("keys"), path.is_dir()) {
            (true, _) => {}
            (false, true) => std::fs::remove_dir_all(path).unwrap(),
            (false, false) => std::fs::remove_file(path).unwrap(),
        }
    }
    copy_but_keys(backup.folder.path(), &node.data());
    if let Some(database) = &backup.database {
        database.put_back().await;
    }
}

fn copy_but_keys(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.ends_with("keys") {
            continue;
        }
        if path.is_dir() {
            copy_but_keys(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
