-- The log. One row of `events` is one event in its place; rows are inserted by the one writer and never changed.

CREATE TABLE events (
    position     INTEGER PRIMARY KEY,   -- 1, 2, 3, … over the whole log, without a gap
    stream       BLOB    NOT NULL,
    stream_kind  INTEGER NOT NULL,
    seq          INTEGER NOT NULL,      -- 1, 2, 3, … in its stream, without a gap
    subject      BLOB,
    event_id     BLOB    NOT NULL UNIQUE,
    kind         TEXT    NOT NULL,
    schema       INTEGER NOT NULL,
    actor        BLOB,
    device       BLOB,
    correlation  BLOB,
    causation    BLOB,
    recorded_at  INTEGER NOT NULL,      -- µs since 1970, strictly rising with position
    public       TEXT    NOT NULL,      -- JSON, byte for byte
    sealed_hash  BLOB,
    body_hash    BLOB    NOT NULL,      -- what a retry is compared by
    chain        BLOB    NOT NULL,      -- the stream's running hash at seq
    content_hash BLOB,                  -- the small ciphertext that came with it, in `contents`
    UNIQUE (stream, seq)
) STRICT;

-- The last event about a subject is one step at the end of this index: no counter row to keep.
CREATE INDEX events_by_subject ON events (stream, subject, seq) WHERE subject IS NOT NULL;

-- Append-only is the database's law, not only the program's habit.
CREATE TRIGGER events_never_change BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are never updated'); END;
CREATE TRIGGER events_never_go BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;

CREATE TABLE streams (
    stream BLOB    NOT NULL PRIMARY KEY,
    kind   INTEGER NOT NULL,
    epoch  BLOB    NOT NULL,
    seq    INTEGER NOT NULL,
    chain  BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER streams_never_go BEFORE DELETE ON streams
BEGIN SELECT RAISE(ABORT, 'streams are never deleted'); END;

-- Personal data, sealed under a subject key. Outside the leaf (which has its hash), so that it can be erased.
CREATE TABLE event_sealed (
    event_id BLOB NOT NULL PRIMARY KEY,
    subject  BLOB NOT NULL,
    purpose  TEXT NOT NULL,
    period   TEXT NOT NULL,
    bytes    BLOB NOT NULL
) STRICT;
CREATE INDEX event_sealed_by_subject ON event_sealed (subject, purpose, period);

-- Small ciphertexts that commit with the event that names them; erased by pruning and purge.
CREATE TABLE contents (
    stream BLOB NOT NULL,
    hash   BLOB NOT NULL,
    bytes  BLOB NOT NULL,
    PRIMARY KEY (stream, hash)
) STRICT;

-- The random name of this log.
CREATE TABLE log_meta (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    log_id BLOB NOT NULL
) STRICT;
INSERT INTO log_meta (one, log_id) VALUES (1, randomblob(16));
