//! The databases of a data folder: each name stands here and nowhere else.

/// The log.
pub const LOG: &str = "log.sqlite";
/// The read models.
pub const READS: &str = "reads.sqlite";
/// Credentials, and what stands beside them: addresses, mail, subject keys, erasures.
pub const CREDENTIALS: &str = "credentials.sqlite";
/// Where blobs lie, and what else is remembered of the work.
pub const OPERATIONS: &str = "operations.sqlite";
/// What is counted for limits.
pub const RATES: &str = "rates.sqlite";

/// All of them.
pub const ALL: [&str; 5] = [LOG, READS, CREDENTIALS, OPERATIONS, RATES];
