-- Erasures on their way: which step is next, and from when on. The requests themselves are events.

CREATE TABLE erasures (
    account       uuid     PRIMARY KEY,
    step          smallint NOT NULL,   -- the next one, from 2
    due_at        bigint   NOT NULL,   -- not begun before
    counts        text     NOT NULL,   -- JSON: what was destroyed until now
    claimed_until bigint   NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON erasures TO lockstep_server;
