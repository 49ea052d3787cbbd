-- What lets the upkeep of blobs be undone by nothing that happens at the same time, on any node.

-- How often a blob was named. Who takes a blob out says what it had seen, and one that was named since stays.
ALTER TABLE blobs ADD COLUMN names INTEGER NOT NULL DEFAULT 0;

-- Objects that are about to be deleted: from now on no blob may be entered into one.
ALTER TABLE orphans ADD COLUMN doomed INTEGER NOT NULL DEFAULT 0;

-- Uploads in parts that clients have begun at the object store. Those that were given up are aborted.
CREATE TABLE uploads (
    object     TEXT    NOT NULL PRIMARY KEY,
    upload     TEXT    NOT NULL,
    started_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_started ON uploads (started_at);

-- What is done from time to time by one node for all: when it was last begun.
CREATE TABLE turns (
    name     TEXT    NOT NULL PRIMARY KEY,
    taken_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
