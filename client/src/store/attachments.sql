-- Since version 2: which blobs live as long as a version, beside its ciphertext.
CREATE TABLE attachments (
    version BLOB NOT NULL, n INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (version, n)
) WITHOUT ROWID;
