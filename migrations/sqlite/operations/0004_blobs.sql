-- What is neither an event nor a read model nor a credential: where ciphertexts lie, answers kept for retries.

-- Which vault has which long ciphertext, and where. `named`: an event names it, or was about to; then it is never
-- swept. `seen_at`: when a sweep first saw it without such an event.
CREATE TABLE blobs (
    vault       BLOB    NOT NULL,
    hash        BLOB    NOT NULL,
    pack        TEXT    NOT NULL,
    byte_offset INTEGER NOT NULL,
    length      INTEGER NOT NULL,
    added_at    INTEGER NOT NULL,
    named       INTEGER NOT NULL DEFAULT 0,
    seen_at     INTEGER,
    PRIMARY KEY (vault, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_by_pack ON blobs (pack);
CREATE INDEX blobs_unnamed ON blobs (added_at) WHERE named = 0;

-- Objects of the store that no blob lies in, as the sweep met them.
CREATE TABLE orphans (
    pack     TEXT    NOT NULL PRIMARY KEY,
    seen_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Answers to commands with an Idempotency-Key, for their retries.
CREATE TABLE kept_answers (
    account      BLOB    NOT NULL,
    device       BLOB    NOT NULL,
    key          TEXT    NOT NULL,
    request_hash BLOB    NOT NULL,
    status       INTEGER NOT NULL,
    body         BLOB    NOT NULL,
    until        INTEGER NOT NULL,
    PRIMARY KEY (account, device, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_answers_until ON kept_answers (until);
