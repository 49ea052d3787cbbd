-- What each device was last served: a save that names no parents is taken to build on that much of the log.
--
-- Written behind, by all nodes; losing rows costs a branch, never an edit. A place of another life counts for nothing.
CREATE TABLE served (
    device  bytea  NOT NULL,
    stream  bytea  NOT NULL,
    epoch   bytea  NOT NULL,
    seq     bigint NOT NULL,
    kept_at bigint NOT NULL,
    PRIMARY KEY (device, stream)
) WITH (fillfactor = 70);  -- a place is written again and again: its new row finds room beside the old one

GRANT SELECT, INSERT, UPDATE, DELETE ON served TO lockstep_server;
