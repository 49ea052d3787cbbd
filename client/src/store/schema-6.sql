-- Which version an alarm is about, as JSON, where a device of the account did sign one that is wrong.
ALTER TABLE alarms ADD COLUMN about TEXT;
-- What a person has looked at and set aside: exactly this, said of exactly this version (the detail names it).
CREATE TABLE set_aside (
    kind TEXT NOT NULL, detail TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (kind, detail)
) WITHOUT ROWID;
