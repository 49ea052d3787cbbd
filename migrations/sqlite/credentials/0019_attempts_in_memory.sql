-- Registrations and logins between their first and their second message are kept in memory: one process begins and ends
-- them, and nothing of them has to outlive it.
DROP TABLE attempts;
