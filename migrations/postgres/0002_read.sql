-- The read models. Deleting their rows loses nothing: they are filled again from the log.
--
-- A row is a document. Its columns are only what it is found by. `projection` is 1 accounts, 2 devices,
-- 3 sessions, 4 vaults, 5 entries, 6 versions. The document is text, not jsonb: checksums need its exact bytes.

CREATE TABLE read_rows (
    projection smallint NOT NULL,
    generation integer  NOT NULL,   -- one life of a read model; a rebuild fills a new one beside the live one
    scope      bytea    NOT NULL,   -- the vault of an entry or version; empty where the id stands alone
    id         bytea    NOT NULL,
    parent     bytea,               -- what it is listed under: account of a device, entry of a version
    place      bigint   NOT NULL,   -- order under the same parent
    document   text     NOT NULL,   -- JSON
    PRIMARY KEY (projection, generation, scope, id)
);

CREATE INDEX read_rows_by_parent ON read_rows (projection, generation, scope, parent, place, id)
    WHERE parent IS NOT NULL;

CREATE TABLE read_checkpoints (
    projection smallint NOT NULL,
    generation integer  NOT NULL,
    position   bigint   NOT NULL,   -- the last position of the log that is in the rows
    live       boolean  NOT NULL,
    PRIMARY KEY (projection, generation)
);

CREATE UNIQUE INDEX read_checkpoints_one_live ON read_checkpoints (projection) WHERE live;

INSERT INTO read_checkpoints (projection, generation, position, live)
VALUES (1, 1, 0, true), (2, 1, 0, true), (3, 1, 0, true), (4, 1, 0, true), (5, 1, 0, true), (6, 1, 0, true);

GRANT SELECT, INSERT, UPDATE, DELETE ON read_rows, read_checkpoints TO lockstep_server;
