-- Begins a new epoch by an operator's will; the function (epochs.sql) says what it locks.
-- Invariant: tokens count up to where the log ends now, and are refused beyond, so whatever was appended since the
-- restore must not have been acknowledged to anybody: command services must be gone (appending.sql).
SELECT headwater_log.begin_epoch()
