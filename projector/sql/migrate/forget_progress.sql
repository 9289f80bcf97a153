-- Takes a projection back to the log's beginning: its checkpoint, its epochs, its changes and what was parked; what
-- was dropped is tried again, too. Its projector starts anew from there. After lock_progress.sql, so that nothing of a
-- batch that was under way is left over. Indexes: the primary keys, parked_row, dropped_row.
WITH gone AS (DELETE FROM headwater_read.parked WHERE projection = $1),
again AS (UPDATE headwater_read.dropped SET in_force = false WHERE projection = $1 AND in_force),
changes AS (DELETE FROM headwater_read.change WHERE projection = $1),
epochs AS (DELETE FROM headwater_read.epoch_start WHERE projection = $1)
DELETE FROM headwater_read.checkpoint WHERE projection = $1
