//! The tables of a server's stores as rows of plain values: what carries them whole from one place to another
//! (`operate::moving`), whichever database they stand in.
//!
//! Columns are learnt from the catalog of each database, so a new one needs no line here; a new table does. A test walks
//! both catalogs and names what was forgotten.

use async_trait::async_trait;

/// Where a server found that its log and credentials were carried elsewhere: a fact beside the credentials.
pub const MOVED: &str = "moved";
/// Where they are being carried to.
pub const ARRIVING: &str = "arriving";

/// Tables that lie together: in one database or one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// The log.
    Log,
    /// Credentials and what stands beside them.
    Credentials,
    /// Where blobs lie, and what else is remembered of the work.
    Operations,
    /// What is counted for limits.
    Rates,
}

impl Family {
    /// All of them, the log last: whoever finds it filled finds everything else, too.
    pub const ALL: [Self; 4] = [Self::Credentials, Self::Operations, Self::Rates, Self::Log];

    /// Its tables.
    pub fn tables(self) -> impl Iterator<Item = &'static Table> {
        TABLES.iter().filter(move |table| table.family == self)
    }
}

/// A table that is carried along.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// With which others it lies.
    pub family: Family,
    /// Its name, the same in every database.
    pub name: &'static str,
    /// Its rows of these names (column `name`) are about the place, and stay.
    pub but: &'static [&'static str],
}

impl Table {
    /// The condition that holds for rows which are carried along; the same in every database.
    pub fn carried(&self) -> String {
        let names = self.but.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        if names.is_empty() { "true".to_owned() } else { format!("name NOT IN ({names})") }
    }
}

const fn table(family: Family, name: &'static str) -> Table {
    Table { family, name, but: &[] }
}

/// The row that every log is born with.
pub const LOG_META: &str = "log_meta";
/// Uploads in parts that were begun at the object store: they are of use nowhere else.
pub const UPLOADS: &str = "uploads";

/// Every table that is carried along.
pub const TABLES: &[Table] = &[
    table(Family::Log, "events"),
    table(Family::Log, "streams"),
    table(Family::Log, "event_sealed"),
    table(Family::Log, "contents"),
    table(Family::Log, LOG_META),
    Table { family: Family::Credentials, name: "server_facts", but: &[MOVED, ARRIVING] },
    table(Family::Credentials, "signing_keys"),
    table(Family::Credentials, "names"),
    table(Family::Credentials, "passwords"),
    table(Family::Credentials, "wraps"),
    table(Family::Credentials, "sessions"),
    table(Family::Credentials, "staged"),
    table(Family::Credentials, "factors"),
    table(Family::Credentials, "subject_keys"),
    table(Family::Credentials, "erasures"),
    table(Family::Credentials, "mail_tasks"),
    table(Family::Credentials, "mail_reacted"),
    table(Family::Credentials, "addresses"),
    table(Family::Credentials, "links"),
    table(Family::Credentials, "identities"),
    table(Family::Credentials, "oidc_flows"),
    table(Family::Operations, "blobs"),
    table(Family::Operations, "orphans"),
    table(Family::Operations, "kept_answers"),
    table(Family::Operations, UPLOADS),
    table(Family::Operations, "turns"),
    table(Family::Operations, "served"),
    table(Family::Operations, "promised"),
    table(Family::Rates, "rl_kept"),
];

/// Tables that stay, each with the reason.
pub const LEFT: &[(&str, &str)] = &[
    ("read_rows", "filled again from the log"),
    ("read_checkpoints", "filled again from the log"),
    ("attempts", "logins between their two messages: they begin again"),
    ("rl", "bursts of minutes, which a crash forgets, too"),
    ("_sqlx_migrations", "each database has its own"),
];

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes, ids among them.
    Bytes,
    /// A whole number, truth among them.
    Int,
    /// A text.
    Text,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// None.
    Null,
    /// Bytes, ids among them.
    Bytes(Vec<u8>),
    /// A whole number, truth among them.
    Int(i64),
    /// A text.
    Text(String),
}

impl Value {
    /// How much it takes, about.
    pub fn size(&self) -> usize {
        match self {
            Self::Null | Self::Int(_) => 8,
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }
}

/// A row: one value for each column, in the order of its [`Shape`].
pub type Row = Vec<Value>;

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// What this database calls that.
    pub native: String,
    /// Its place in the primary key.
    pub key: Option<i64>,
    /// This database finds its values in another table, and keeps none.
    pub is_derived: bool,
}

/// What a table is like in one database.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The table.
    pub table: &'static Table,
    /// In the order of their names, which is the same in every database.
    pub columns: Vec<Column>,
}

impl Shape {
    /// Of columns in any order.
    pub fn new(table: &'static Table, mut columns: Vec<Column>) -> Self {
        columns.sort_by(|one, other| one.name.cmp(&other.name));
        Self { table, columns }
    }

    /// Whether rows of the one are rows of the other.
    pub fn is_like(&self, other: &Self) -> bool {
        let plain = |shape: &Self| {
            let plain = |column: &Column| (column.name.clone(), column.kind, column.key);
            shape.columns.iter().map(plain).collect::<Vec<_>>()
        };
        self.table == other.table && plain(self) == plain(other)
    }

    /// Which columns the primary key has, in its order.
    pub fn key(&self) -> Vec<usize> {
        let mut key: Vec<usize> =
            (0..self.columns.len()).filter(|at| self.columns[*at].key.is_some()).collect();
        key.sort_by_key(|at| self.columns[*at].key);
        key
    }
}

/// Why a table cannot be carried.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The database did not answer, or refused.
    #[error("the table {table} cannot be read or written")]
    Failed {
        /// The table.
        table: String,
        /// What the database says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A column of a type that nobody has carried before.
    #[error("the column {column} of {table} is of the type {native}, which this program cannot carry")]
    Foreign {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        native: String,
    },
}

impl TableError {
    /// What a database says about a table.
    pub fn of<E: std::error::Error + Send + Sync + 'static>(table: &str) -> impl Fn(E) -> Self + '_ {
        move |error| Self::Failed { table: table.to_owned(), source: Box::new(error) }
    }
}

/// The tables of one or more families, in one database.
#[async_trait]
pub trait TableStore: Send + Sync {
    /// What a table is like.
    async fn shape(&self, table: &'static Table) -> Result<Shape, TableError>;

    /// How many rows it has, without those that stay.
    async fn count(&self, table: &'static Table) -> Result<u64, TableError>;

    /// Rows after one (or the first), in the order of the primary key, which is the same in every database: bytes and texts
    /// by their bytes.
    async fn page(&self, shape: &Shape, after: Option<&Row>, limit: usize) -> Result<Vec<Row>, TableError>;

    /// Begins to fill tables, all or nothing.
    async fn begin(&self) -> Result<Box<dyn Filling>, TableError>;

    /// What is kept under a name about the place itself, beside the credentials.
    async fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, TableError>;

    /// Keeps something under a name, or nothing any more; durable when it returns.
    async fn keep_fact(&self, name: &str, value: Option<&[u8]>) -> Result<(), TableError>;
}

/// Tables that are being filled. Dropped without a commit nothing was.
#[async_trait]
pub trait Filling: Send {
    /// Deletes the rows of a table, but those that stay.
    async fn clear(&mut self, table: &'static Table) -> Result<(), TableError>;

    /// Inserts rows.
    async fn put(&mut self, shape: &Shape, rows: &[Row]) -> Result<(), TableError>;

    /// Durable when it returns.
    async fn commit(self: Box<Self>) -> Result<(), TableError>;
}
