-- Begins a new epoch after a promotion; the function (epochs.sql) says what it locks.
SELECT headwater_log.follow_epoch()
