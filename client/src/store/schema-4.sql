-- When what stands at the cursor was recorded, microseconds since 1970 (0: not known). No log's clock goes back, from one
-- page to the next either.
ALTER TABLE streams ADD COLUMN recorded_at INTEGER NOT NULL DEFAULT 0;
