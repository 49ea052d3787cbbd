-- Uploads that were begun take room before a version names them, so that many which fit one by one do not pass a plan
-- together. `object`: where the bytes go, if clients send them straight to the store; they may lie there without a blob.
CREATE TABLE promised (
    vault  BLOB    NOT NULL,
    hash   BLOB    NOT NULL,
    bytes  INTEGER NOT NULL,
    object TEXT,
    since  INTEGER NOT NULL,
    PRIMARY KEY (vault, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX promised_since ON promised (since);
CREATE INDEX promised_object ON promised (object) WHERE object IS NOT NULL;

-- What of a vault nobody names yet, added up without looking at what is named.
CREATE INDEX blobs_waiting ON blobs (vault, length) WHERE named = 0;
