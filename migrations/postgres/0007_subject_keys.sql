-- Keys of people's sealed data, one for each person, purpose and period, so that destroying the key erases the data
-- wherever copies of it lie. The bytes are sealed under a key that is kept outside every database.

-- A row without bytes is a tombstone: its data is gone, and no key is ever made in its place. A tombstone with the
-- period '*' stands for every period of its purpose.
CREATE TABLE subject_keys (
    subject      uuid   NOT NULL,
    purpose      text   NOT NULL,
    period       text   NOT NULL,
    id           uuid   NOT NULL,
    epoch        bigint NOT NULL,   -- of the key outside that seals it
    bytes        bytea,
    destroyed_at bigint,
    PRIMARY KEY (subject, purpose, period),
    CHECK ((bytes IS NULL) = (destroyed_at IS NOT NULL))
);
CREATE INDEX subject_keys_by_epoch ON subject_keys (epoch) WHERE bytes IS NOT NULL;
CREATE INDEX subject_keys_by_period ON subject_keys (purpose, period COLLATE "C") WHERE period NOT IN ('', '*');

GRANT SELECT, INSERT, UPDATE, DELETE ON subject_keys TO lockstep_server;

-- Erasure: after the keys, the sealed bytes go as well.
CREATE FUNCTION erase_sealed(of_subject uuid, of_purposes text[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '10s' AS $$
    WITH gone AS (
        DELETE FROM event_sealed WHERE subject = of_subject AND purpose = ANY (of_purposes) RETURNING 1
    )
    SELECT count(*) FROM gone
$$;

-- The end of a retention: the sealed bytes of earlier periods go.
CREATE INDEX event_sealed_by_period ON event_sealed (purpose, period COLLATE "C") WHERE period <> '';
CREATE FUNCTION erase_sealed_before(of_purpose text, first_kept text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '10s' AS $$
    WITH gone AS (
        DELETE FROM event_sealed
        WHERE purpose = of_purpose AND period <> '' AND period COLLATE "C" < first_kept RETURNING 1
    )
    SELECT count(*) FROM gone
$$;

REVOKE ALL ON FUNCTION erase_sealed, erase_sealed_before FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_sealed, erase_sealed_before TO lockstep_server;
