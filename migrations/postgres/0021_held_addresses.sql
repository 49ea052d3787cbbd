-- A former address is held for its account for a week: nobody else gets it, and it still is a name to log in with. It is
-- looked for at every login and registration.
CREATE INDEX addresses_former ON addresses (address_index) WHERE standing = 'former';
