-- The read models, in a file of their own: rows and log commit without waiting for each other, and deleting this
-- file loses nothing, because it is filled again from the log.
--
-- A row is a document. Its columns are only what it is found by. `projection` is 1 accounts, 2 devices,
-- 3 sessions, 4 vaults, 5 entries, 6 versions.

CREATE TABLE read_rows (
    projection INTEGER NOT NULL,
    generation INTEGER NOT NULL,   -- one life of a read model; a rebuild fills a new one beside the live one
    scope      BLOB    NOT NULL,   -- the vault of an entry or version; empty where the id stands alone
    id         BLOB    NOT NULL,
    parent     BLOB,               -- what it is listed under: account of a device, entry of a version
    place      INTEGER NOT NULL,   -- order under the same parent
    document   TEXT    NOT NULL,   -- JSON
    PRIMARY KEY (projection, generation, scope, id)
) STRICT;

CREATE INDEX read_rows_by_parent ON read_rows (projection, generation, scope, parent, place, id)
    WHERE parent IS NOT NULL;

CREATE TABLE read_checkpoints (
    projection INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    position   INTEGER NOT NULL,   -- the last position of the log that is in the rows
    live       INTEGER NOT NULL CHECK (live IN (0, 1)),
    PRIMARY KEY (projection, generation)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX read_checkpoints_one_live ON read_checkpoints (projection) WHERE live = 1;

INSERT INTO read_checkpoints (projection, generation, position, live)
VALUES (1, 1, 0, 1), (2, 1, 0, 1), (3, 1, 0, 1), (4, 1, 0, 1), (5, 1, 0, 1), (6, 1, 0, 1);
