-- The generation of a password record; one of a lower generation never replaces it.
ALTER TABLE passwords ADD COLUMN generation bigint NOT NULL DEFAULT 1;

-- A change of credentials between its decision and its event in the log; at most one for each account. Whoever meets
-- it looks whether its event stands: then it is carried out, otherwise it is dropped when it is old.
CREATE TABLE staged (
    account   bytea PRIMARY KEY,
    attempt   bytea NOT NULL,
    change    bytea NOT NULL,
    staged_at bigint NOT NULL
);

-- Second factors with their codes, sealed under the person's key; the verifier of the recovery code; devices that ask
-- to be approved. `version` is for compare-and-set.
CREATE TABLE factors (
    id         bytea PRIMARY KEY,
    account    bytea NOT NULL,
    kind       text NOT NULL,
    body       bytea NOT NULL,
    version    bigint NOT NULL,
    created_at bigint NOT NULL
);

CREATE INDEX factors_account ON factors (account);
CREATE INDEX factors_asking ON factors (created_at) WHERE kind = 'approval';
