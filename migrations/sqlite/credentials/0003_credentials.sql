-- What must be destroyable and therefore never enters the log. Nothing here opens anything without the key file.

-- Facts about this store itself: with which key file it was first used.
CREATE TABLE server_facts (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Keys that sign access tokens: public parts only, the private ones are derived from the key file.
CREATE TABLE signing_keys (
    kid        TEXT PRIMARY KEY,
    public_key BLOB NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('next', 'current', 'previous', 'revoked')),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Registrations and logins between their first and their second message. Any node can finish them.
CREATE TABLE attempts (
    id         BLOB PRIMARY KEY,
    state      BLOB NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Names as keyed hashes. `confirmed`: the account's first event is known to stand in the log.
CREATE TABLE names (
    name_index  BLOB PRIMARY KEY,
    account     BLOB NOT NULL UNIQUE,
    attempt     BLOB NOT NULL,
    reserved_at INTEGER NOT NULL,
    confirmed   INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- One password record per account.
CREATE TABLE passwords (
    account BLOB PRIMARY KEY,
    setup   INTEGER NOT NULL,
    suite   INTEGER NOT NULL,
    record  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- One live row per account and wrapped key.
CREATE TABLE wraps (
    account    BLOB NOT NULL,
    name       TEXT NOT NULL,
    generation INTEGER NOT NULL,
    bytes      BLOB NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

-- One row per session. The valid refresh token stands as its hash; older ones are recomputed from seed, number and
-- the key file, so that their reuse is noticed without a row for each.
CREATE TABLE sessions (
    session    BLOB PRIMARY KEY,
    account    BLOB NOT NULL,
    device     BLOB NOT NULL,
    seed       BLOB NOT NULL,
    generation INTEGER NOT NULL,
    token_hash BLOB NOT NULL,
    rotations  BLOB NOT NULL,
    opened_at  INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX attempts_expire ON attempts (expires_at);
