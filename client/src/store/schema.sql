-- The local database of one device. Encrypted as a whole (SQLCipher); keys in it are wrapped once more.

-- Single values: wrapped keys, tokens, the pinned server key.
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- Wrapped vault keys, every generation that was ever seen.
CREATE TABLE vault_keys (
    vault BLOB NOT NULL, generation INTEGER NOT NULL, wrap BLOB NOT NULL,
    PRIMARY KEY (vault, generation)
) WITHOUT ROWID;

-- The account's signed statements, verified before they were written.
CREATE TABLE roster (epoch INTEGER PRIMARY KEY, statement TEXT NOT NULL);

-- When the log says that a device was revoked, microseconds since 1970.
CREATE TABLE revocations (device BLOB PRIMARY KEY, revoked_at INTEGER NOT NULL) WITHOUT ROWID;

-- The cursor of each stream: everything up to seq is applied (C1).
CREATE TABLE streams (
    stream BLOB PRIMARY KEY, kind INTEGER NOT NULL, epoch BLOB NOT NULL, seq INTEGER NOT NULL,
    chain BLOB NOT NULL, lives INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;

-- The chain at every seq that this device has seen, in every life of the stream: what observed_chain is compared to.
CREATE TABLE chains (
    stream BLOB NOT NULL, epoch BLOB NOT NULL, seq INTEGER NOT NULL, chain BLOB NOT NULL,
    PRIMARY KEY (stream, seq, epoch)
) WITHOUT ROWID;

-- Every version that this device holds (K and O). n is the order of arrival: parents before children.
CREATE TABLE versions (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    vault BLOB NOT NULL,
    entry BLOB NOT NULL,
    header TEXT NOT NULL,
    parents BLOB NOT NULL,          -- what it builds on in the graph: 32 bytes each
    signer BLOB NOT NULL,
    signature BLOB NOT NULL,
    wrapped_key BLOB,
    ciphertext BLOB,
    content INTEGER NOT NULL,       -- 0 kind has none, 1 here, 2 on the server, 3 gone
    seq INTEGER,                    -- place in the stream's present life; null: not (yet) there
    accepted_at INTEGER
);
CREATE INDEX versions_by_entry ON versions (entry, n);
CREATE INDEX versions_unplaced ON versions (vault, n) WHERE seq IS NULL;
CREATE INDEX versions_wanted ON versions (vault, n) WHERE content = 2;

-- Heads of each entry by what the server has accepted, and this device's own pin.
CREATE TABLE entries (
    entry BLOB PRIMARY KEY, vault BLOB NOT NULL, heads TEXT NOT NULL, pinned BLOB
) WITHOUT ROWID;
CREATE INDEX entries_by_vault ON entries (vault, entry);

-- Versions that wait to be sent, in order; those of a group go together or not at all (C2).
CREATE TABLE outbox (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    version BLOB NOT NULL UNIQUE,
    vault BLOB NOT NULL,
    unit INTEGER,
    reoffer INTEGER NOT NULL DEFAULT 0
);

-- Versions that the server refused for good, until a person decides.
CREATE TABLE quarantine (version BLOB PRIMARY KEY, reason TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE alarms (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, at INTEGER NOT NULL, detail TEXT NOT NULL,
    seen INTEGER NOT NULL DEFAULT 0
);
