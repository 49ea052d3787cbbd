-- Mail that waits, addresses of accounts, and links that were mailed. Everything here can be destroyed: the log holds
-- facts about it and no address.

-- Tasks for mail. A task names accounts and keyed hashes, never an address or a link. One that was done is remembered
-- for a week without its contents, so that the same cause does not make it again.
CREATE TABLE mail_tasks (
    id         bytea PRIMARY KEY,
    task       bytea NOT NULL,
    next_at    bigint NOT NULL,
    tries      bigint NOT NULL DEFAULT 0,
    done_at    bigint
);

CREATE INDEX mail_tasks_due ON mail_tasks (next_at) WHERE done_at IS NULL;
CREATE INDEX mail_tasks_done ON mail_tasks (done_at) WHERE done_at IS NOT NULL;

-- Up to which position of the log events have been turned into tasks: one row.
CREATE TABLE mail_reacted (
    one      smallint PRIMARY KEY CHECK (one = 1),
    position bigint NOT NULL
);

-- Addresses: sealed under the account's own key, found by a keyed hash. `former`: only until its owner was told.
CREATE TABLE addresses (
    account       bytea NOT NULL,
    standing      text NOT NULL CHECK (standing IN ('pending', 'confirmed', 'former')),
    address_index bytea NOT NULL,
    sealed        bytea NOT NULL,
    since         bigint NOT NULL,
    PRIMARY KEY (account, standing)
);

-- A confirmed address belongs to one account; a pending one is a claim that several may make.
CREATE UNIQUE INDEX addresses_confirmed ON addresses (address_index) WHERE standing = 'confirmed';
CREATE INDEX addresses_pending ON addresses (address_index) WHERE standing = 'pending';

-- Links that were mailed, as hashes of their secrets. `initiator`: the hash of what only the client that asked holds.
CREATE TABLE links (
    token_hash    bytea PRIMARY KEY,
    purpose       text NOT NULL CHECK (purpose IN ('sign_in', 'confirm')),
    account       bytea NOT NULL,
    address_index bytea NOT NULL,
    initiator     bytea NOT NULL,
    expires_at    bigint NOT NULL,
    pressed_at    bigint,
    taken_at      bigint
);

CREATE INDEX links_of_account ON links (account);
CREATE INDEX links_of_initiator ON links (initiator);
CREATE INDEX links_expire ON links (expires_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON mail_tasks, mail_reacted, addresses, links TO lockstep_server;
