-- One snapshot for the checkpoint and all live rows that a draft is compared with. No other rebuild goes on, so the
-- tables stay.
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY
