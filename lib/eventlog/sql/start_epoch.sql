-- Raises the epoch. Lock: the log's row; appends do not take it, so command services must be gone (appending.sql).
-- Invariant: tokens handed out before this are of another epoch from now on, and refused.
UPDATE headwater_log.log SET epoch = epoch + 1
