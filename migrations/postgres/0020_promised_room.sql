-- Uploads that were begun take room before a version names them, so that many which fit one by one do not pass a plan
-- together. `object`: where the bytes go, if clients send them straight to the store; they may lie there without a blob.
CREATE TABLE promised (
    vault  bytea  NOT NULL,
    hash   bytea  NOT NULL,
    bytes  bigint NOT NULL,
    object text,
    since  bigint NOT NULL,
    PRIMARY KEY (vault, hash)
);
CREATE INDEX promised_since ON promised (since);
CREATE INDEX promised_object ON promised (object) WHERE object IS NOT NULL;

-- What of a vault nobody names yet, added up without looking at what is named.
CREATE INDEX blobs_waiting ON blobs (vault) INCLUDE (length) WHERE NOT named;

GRANT SELECT, INSERT, UPDATE, DELETE ON promised TO lockstep_server;
