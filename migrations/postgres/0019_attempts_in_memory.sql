-- Nothing changes here: nodes share what a login has begun and the buckets that a crash may empty. The embedded mode keeps
-- both in memory (ADR 20).
SELECT 1;
