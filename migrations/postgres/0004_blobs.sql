-- What is neither an event nor a read model nor a credential: where ciphertexts lie, answers kept for retries.

-- Which vault has which long ciphertext, and where. `named`: an event names it, or was about to; then it is never
-- swept. `seen_at`: when a sweep first saw it without such an event.
CREATE TABLE blobs (
    vault       bytea   NOT NULL,
    hash        bytea   NOT NULL,
    pack        text    NOT NULL,
    byte_offset bigint  NOT NULL,
    length      bigint  NOT NULL,
    added_at    bigint  NOT NULL,
    named       boolean NOT NULL DEFAULT false,
    seen_at     bigint,
    PRIMARY KEY (vault, hash)
);
CREATE INDEX blobs_by_pack ON blobs (pack);
CREATE INDEX blobs_unnamed ON blobs (added_at) WHERE NOT named;

-- Objects of the store that no blob lies in, as the sweep met them.
CREATE TABLE orphans (
    pack    text   NOT NULL PRIMARY KEY,
    seen_at bigint NOT NULL
);

-- Answers to commands with an Idempotency-Key, for their retries.
CREATE TABLE kept_answers (
    account      bytea   NOT NULL,
    device       bytea   NOT NULL,
    key          text    NOT NULL,
    request_hash bytea   NOT NULL,
    status       integer NOT NULL,
    body         bytea   NOT NULL,
    until        bigint  NOT NULL,
    PRIMARY KEY (account, device, key)
);
CREATE INDEX kept_answers_until ON kept_answers (until);

GRANT SELECT, INSERT, UPDATE, DELETE ON blobs, orphans, kept_answers TO lockstep_server;
