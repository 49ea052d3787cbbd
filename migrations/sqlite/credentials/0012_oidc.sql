-- Identities elsewhere, and sign-ins with them that are under way. Destroyable like every credential: an identity is a
-- keyed hash, and what a flow needs besides is made from its owner's secret and the server's key file.

-- `identity`: the keyed hash of issuer and subject. Nothing is found by an address.
CREATE TABLE identities (
    identity  BLOB PRIMARY KEY,
    id        BLOB NOT NULL UNIQUE,
    account   BLOB NOT NULL,
    provider  TEXT NOT NULL,
    linked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX identities_of_account ON identities (account);

-- `owner`: the hash of what only the client that asked holds, so that nobody else can end the flow.
CREATE TABLE oidc_flows (
    owner      BLOB PRIMARY KEY,
    state_hash BLOB NOT NULL UNIQUE,
    provider   TEXT NOT NULL,
    port       INTEGER NOT NULL,
    account    BLOB,
    session    BLOB,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX oidc_flows_expire ON oidc_flows (expires_at);
