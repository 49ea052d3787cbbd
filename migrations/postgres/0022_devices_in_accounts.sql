-- The id of a device is chosen by its client, and another account may choose the same: it is a name inside its account,
-- which from here on is the scope of its row. Where two accounts had one id already, the later row had taken the place of
-- the earlier: so the rows are not changed, but filled again from the log, as after a restore. That takes a while at the
-- next start; what an account is asked for answers 503 until then.
DELETE FROM read_rows WHERE projection IN (1, 2, 3);
UPDATE read_checkpoints SET position = 0 WHERE projection IN (1, 2, 3);

-- A node of the program before, which still runs, can write no row of a device by the former key.
ALTER TABLE read_rows ADD CONSTRAINT devices_in_accounts CHECK (projection <> 2 OR length(scope) = 16);
