-- What must be destroyable and therefore never enters the log. Nothing here opens anything without the key file.

-- Facts about this store itself: with which key file it was first used.
CREATE TABLE server_facts (
    name  text PRIMARY KEY,
    value bytea NOT NULL
);

-- Keys that sign access tokens: public parts only, the private ones are derived from the key file.
CREATE TABLE signing_keys (
    kid        text PRIMARY KEY,
    public_key bytea NOT NULL,
    state      text NOT NULL CHECK (state IN ('next', 'current', 'previous', 'revoked')),
    created_at bigint NOT NULL,
    changed_at bigint NOT NULL
);

-- Registrations and logins between their first and their second message. Any node can finish them.
CREATE TABLE attempts (
    id         bytea PRIMARY KEY,
    state      bytea NOT NULL,
    expires_at bigint NOT NULL
);

-- Names as keyed hashes. `confirmed`: the account's first event is known to stand in the log.
CREATE TABLE names (
    name_index  bytea PRIMARY KEY,
    account     bytea NOT NULL UNIQUE,
    attempt     bytea NOT NULL,
    reserved_at bigint NOT NULL,
    confirmed   boolean NOT NULL DEFAULT false
);

-- One password record per account.
CREATE TABLE passwords (
    account bytea PRIMARY KEY,
    setup   bigint NOT NULL,
    suite   bigint NOT NULL,
    record  bytea NOT NULL
);

-- One live row per account and wrapped key.
CREATE TABLE wraps (
    account    bytea NOT NULL,
    name       text NOT NULL,
    generation bigint NOT NULL,
    bytes      bytea NOT NULL,
    PRIMARY KEY (account, name)
);

-- One row per session. The valid refresh token stands as its hash; older ones are recomputed from seed, number and
-- the key file, so that their reuse is noticed without a row for each.
CREATE TABLE sessions (
    session    bytea PRIMARY KEY,
    account    bytea NOT NULL,
    device     bytea NOT NULL,
    seed       bytea NOT NULL,
    generation bigint NOT NULL,
    token_hash bytea NOT NULL,
    rotations  bytea NOT NULL,
    opened_at  bigint NOT NULL,
    ended_at   bigint
);

CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX attempts_expire ON attempts (expires_at);
