-- How much is left of each limit that all nodes count together: one number for each bucket, the time (microseconds)
-- at which it is full again. Keys are keyed hashes: the tables name nobody.

-- Forgotten with a crash of the database, and therefore cheap: no commit here waits for the disk.
CREATE UNLOGGED TABLE rl (
    key     bytea  PRIMARY KEY,
    full_at bigint NOT NULL
);

-- Failures of a day. They outlive a crash.
CREATE TABLE rl_kept (
    key     bytea  PRIMARY KEY,
    full_at bigint NOT NULL
);

-- Takes one from each bucket in order until one has none: one row for each that was asked. Every caller asks for its
-- buckets in the same order of kinds, so two of them never wait for each other.
CREATE FUNCTION rl_take(keys bytea[], kept boolean[], steps bigint[], windows bigint[], now_us bigint)
RETURNS TABLE (was_taken boolean, is_full_at bigint) LANGUAGE plpgsql AS $$
DECLARE
    next_at bigint;
BEGIN
    FOR i IN 1 .. cardinality(keys) LOOP
        IF kept[i] THEN
            INSERT INTO rl_kept AS r (key, full_at) VALUES (keys[i], now_us + steps[i])
            ON CONFLICT (key) DO UPDATE SET full_at = greatest(r.full_at, now_us) + steps[i]
            WHERE greatest(r.full_at, now_us) + steps[i] <= now_us + windows[i]
            RETURNING r.full_at INTO next_at;
        ELSE
            INSERT INTO rl AS r (key, full_at) VALUES (keys[i], now_us + steps[i])
            ON CONFLICT (key) DO UPDATE SET full_at = greatest(r.full_at, now_us) + steps[i]
            WHERE greatest(r.full_at, now_us) + steps[i] <= now_us + windows[i]
            RETURNING r.full_at INTO next_at;
        END IF;
        was_taken := next_at IS NOT NULL;
        IF NOT was_taken THEN
            IF kept[i] THEN
                SELECT r.full_at INTO next_at FROM rl_kept r WHERE r.key = keys[i];
            ELSE
                SELECT r.full_at INTO next_at FROM rl r WHERE r.key = keys[i];
            END IF;
        END IF;
        is_full_at := coalesce(next_at, now_us + windows[i]);
        RETURN NEXT;
        EXIT WHEN NOT was_taken;
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON rl, rl_kept TO lockstep_server;
GRANT EXECUTE ON FUNCTION rl_take TO lockstep_server;
