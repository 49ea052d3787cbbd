//! Postgres: shared by all nodes of the distributed mode.
