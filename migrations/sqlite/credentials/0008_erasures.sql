-- Erasures on their way: which step is next, and from when on. The requests themselves are events.

CREATE TABLE erasures (
    account       BLOB    PRIMARY KEY,
    step          INTEGER NOT NULL,    -- the next one, from 2
    due_at        INTEGER NOT NULL,    -- not begun before
    counts        TEXT    NOT NULL,    -- JSON: what was destroyed until now
    claimed_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
