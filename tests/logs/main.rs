//! Every log behind the one contract: SQLite and Postgres side by side with the log in memory.

mod postgres;
mod sqlite;
