-- How much is left of each limit that concerns credentials: one number for each bucket, the time (microseconds) at
-- which it is full again. Keys are keyed hashes: the tables name nobody. A file of its own, whose commits do not wait
-- for the disk: what is lost with a power cut is the last moment before it.

CREATE TABLE rl (
    key     BLOB    NOT NULL PRIMARY KEY,
    full_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Failures of a day.
CREATE TABLE rl_kept (
    key     BLOB    NOT NULL PRIMARY KEY,
    full_at INTEGER NOT NULL
) WITHOUT ROWID;
