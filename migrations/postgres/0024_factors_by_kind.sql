-- Whether a name has an account must not be told by the time of an answer, and to find a row takes longer than not to find
-- one. What a login and the use of a recovery code look up has indexes in which other kinds of factors do not stand.
CREATE INDEX factors_second ON factors (account) WHERE kind NOT IN ('recovery', 'approval');
CREATE INDEX factors_recovery ON factors (account) WHERE kind = 'recovery';
