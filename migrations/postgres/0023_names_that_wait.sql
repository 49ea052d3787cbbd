-- A blob is named before the event that needs it is appended, and the event may be refused. `pending`: how many namings
-- have not ended; `pending_since`: when the last of them began. Until one has ended well, `named` stays as it was.
ALTER TABLE blobs ADD COLUMN pending bigint NOT NULL DEFAULT 0;
ALTER TABLE blobs ADD COLUMN pending_since bigint;

-- Of what was named until now it is not known whether the event stands: the next sweep asks the log, once.
UPDATE blobs SET pending = 1, pending_since = 0 WHERE named;

CREATE INDEX blobs_pending ON blobs (vault, hash) WHERE pending > 0;

-- Erases contents, but for those that came again with an event after the seq up to which was asked who else keeps them.
-- Under the append lock, so that no event is on its way. The function of the same name without a seq is for nodes of the
-- program before.
CREATE FUNCTION erase_contents(of_stream uuid, hashes bytea[], seen bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    came   bytea[];
    erased bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(6003371234567890);
    came := ARRAY(SELECT content_hash FROM events
                  WHERE stream = of_stream AND seq > seen AND content_hash IS NOT NULL);
    DELETE FROM contents WHERE stream = of_stream AND hash = ANY (hashes) AND hash <> ALL (came);
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END $$;
REVOKE ALL ON FUNCTION erase_contents(uuid, bytea[], bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_contents(uuid, bytea[], bigint) TO lockstep_server;
