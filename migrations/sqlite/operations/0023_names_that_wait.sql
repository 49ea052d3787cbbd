-- A blob is named before the event that needs it is appended, and the event may be refused. `pending`: how many namings
-- have not ended; `pending_since`: when the last of them began. Until one has ended well, `named` stays as it was.
ALTER TABLE blobs ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blobs ADD COLUMN pending_since INTEGER;

-- Of what was named until now it is not known whether the event stands: the next sweep asks the log, once.
UPDATE blobs SET pending = 1, pending_since = 0 WHERE named = 1;

CREATE INDEX blobs_pending ON blobs (vault, hash) WHERE pending > 0;
