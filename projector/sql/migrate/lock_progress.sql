-- Keeps a projection's projector from committing until this transaction ends. What was committed before is seen by the
-- statements that follow, and not by one that waits for the lock itself: its snapshot is older. Lock: the checkpoint's
-- row. Index: its primary key.
SELECT FROM headwater_read.checkpoint WHERE projection = $1 FOR UPDATE
