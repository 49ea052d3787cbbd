-- How a session proved itself, under the name that its event has.
ALTER TABLE sessions ADD COLUMN method text NOT NULL DEFAULT 'password';
CREATE INDEX sessions_account ON sessions (account);
