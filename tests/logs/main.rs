//! Every log behind the one contract: SQLite and Postgres side by side with the log in memory.

mod differential;
mod kill;
mod laws;
mod postgres;
mod sqlite;
mod torture;
