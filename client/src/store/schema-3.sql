-- The digest of all versions that a vault's stream has accepted up to the cursor (null: not known yet), and of those
-- among them that this device never held: it began with a snapshot, which leaves out what is superseded.
ALTER TABLE streams ADD COLUMN digest BLOB;
ALTER TABLE streams ADD COLUMN absent BLOB NOT NULL
    DEFAULT X'0000000000000000000000000000000000000000000000000000000000000000';
