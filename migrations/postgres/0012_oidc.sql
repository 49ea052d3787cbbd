-- Identities elsewhere, and sign-ins with them that are under way. Destroyable like every credential: an identity is a
-- keyed hash, and what a flow needs besides is made from its owner's secret and the server's key file.

-- `identity`: the keyed hash of issuer and subject. Nothing is found by an address.
CREATE TABLE identities (
    identity  bytea PRIMARY KEY,
    id        bytea NOT NULL UNIQUE,
    account   bytea NOT NULL,
    provider  text NOT NULL,
    linked_at bigint NOT NULL
);

CREATE INDEX identities_of_account ON identities (account);

-- `owner`: the hash of what only the client that asked holds, so that nobody else can end the flow.
CREATE TABLE oidc_flows (
    owner      bytea PRIMARY KEY,
    state_hash bytea NOT NULL UNIQUE,
    provider   text NOT NULL,
    port       bigint NOT NULL,
    account    bytea,
    session    bytea,
    expires_at bigint NOT NULL
);

CREATE INDEX oidc_flows_expire ON oidc_flows (expires_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON identities, oidc_flows TO lockstep_server;
