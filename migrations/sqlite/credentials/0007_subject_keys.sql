-- Keys of people's sealed data, one for each person, purpose and period, so that destroying the key erases the data
-- wherever copies of it lie. The bytes are sealed under a key that is kept outside every database.

-- A row without bytes is a tombstone: its data is gone, and no key is ever made in its place. A tombstone with the
-- period '*' stands for every period of its purpose.
CREATE TABLE subject_keys (
    subject      BLOB    NOT NULL,
    purpose      TEXT    NOT NULL,
    period       TEXT    NOT NULL,
    id           BLOB    NOT NULL,
    epoch        INTEGER NOT NULL,  -- of the key outside that seals it
    bytes        BLOB,
    destroyed_at INTEGER,
    PRIMARY KEY (subject, purpose, period),
    CHECK ((bytes IS NULL) = (destroyed_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX subject_keys_by_epoch ON subject_keys (epoch) WHERE bytes IS NOT NULL;
CREATE INDEX subject_keys_by_period ON subject_keys (purpose, period) WHERE period NOT IN ('', '*');
