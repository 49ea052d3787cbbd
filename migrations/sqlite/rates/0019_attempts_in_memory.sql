-- Buckets that a crash may empty are counted in memory: one process counts, and no login waits for a disk because of them.
DROP TABLE rl;
