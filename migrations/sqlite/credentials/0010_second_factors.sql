-- The generation of a password record; one of a lower generation never replaces it.
ALTER TABLE passwords ADD COLUMN generation INTEGER NOT NULL DEFAULT 1;

-- A change of credentials between its decision and its event in the log; at most one for each account. Whoever meets
-- it looks whether its event stands: then it is carried out, otherwise it is dropped when it is old.
CREATE TABLE staged (
    account   BLOB PRIMARY KEY,
    attempt   BLOB NOT NULL,
    change    BLOB NOT NULL,
    staged_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Second factors with their codes, sealed under the person's key; the verifier of the recovery code; devices that ask
-- to be approved. `version` is for compare-and-set.
CREATE TABLE factors (
    id         BLOB PRIMARY KEY,
    account    BLOB NOT NULL,
    kind       TEXT NOT NULL,
    body       BLOB NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX factors_account ON factors (account);
CREATE INDEX factors_asking ON factors (created_at) WHERE kind = 'approval';
