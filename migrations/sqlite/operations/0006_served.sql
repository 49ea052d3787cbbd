-- What each device was last served: a save that names no parents is taken to build on that much of the log.
--
-- Written behind; losing rows costs a branch, never an edit. A place of another life counts for nothing.
CREATE TABLE served (
    device  BLOB    NOT NULL,
    stream  BLOB    NOT NULL,
    epoch   BLOB    NOT NULL,
    seq     INTEGER NOT NULL,
    kept_at INTEGER NOT NULL,
    PRIMARY KEY (device, stream)
) STRICT, WITHOUT ROWID;
