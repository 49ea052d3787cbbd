-- Mail that waits, addresses of accounts, and links that were mailed. Everything here can be destroyed: the log holds
-- facts about it and no address.

-- Tasks for mail. A task names accounts and keyed hashes, never an address or a link. One that was done is remembered
-- for a week without its contents, so that the same cause does not make it again.
CREATE TABLE mail_tasks (
    id         BLOB PRIMARY KEY,
    task       BLOB NOT NULL,
    next_at    INTEGER NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0,
    done_at    INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX mail_tasks_due ON mail_tasks (next_at) WHERE done_at IS NULL;
CREATE INDEX mail_tasks_done ON mail_tasks (done_at) WHERE done_at IS NOT NULL;

-- Up to which position of the log events have been turned into tasks: one row.
CREATE TABLE mail_reacted (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Addresses: sealed under the account's own key, found by a keyed hash. `former`: only until its owner was told.
CREATE TABLE addresses (
    account       BLOB NOT NULL,
    standing      TEXT NOT NULL CHECK (standing IN ('pending', 'confirmed', 'former')),
    address_index BLOB NOT NULL,
    sealed        BLOB NOT NULL,
    since         INTEGER NOT NULL,
    PRIMARY KEY (account, standing)
) STRICT, WITHOUT ROWID;

-- A confirmed address belongs to one account; a pending one is a claim that several may make.
CREATE UNIQUE INDEX addresses_confirmed ON addresses (address_index) WHERE standing = 'confirmed';
CREATE INDEX addresses_pending ON addresses (address_index) WHERE standing = 'pending';

-- Links that were mailed, as hashes of their secrets. `initiator`: the hash of what only the client that asked holds.
CREATE TABLE links (
    token_hash    BLOB PRIMARY KEY,
    purpose       TEXT NOT NULL CHECK (purpose IN ('sign_in', 'confirm')),
    account       BLOB NOT NULL,
    address_index BLOB NOT NULL,
    initiator     BLOB NOT NULL,
    expires_at    INTEGER NOT NULL,
    pressed_at    INTEGER,
    taken_at      INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX links_of_account ON links (account);
CREATE INDEX links_of_initiator ON links (initiator);
CREATE INDEX links_expire ON links (expires_at);
