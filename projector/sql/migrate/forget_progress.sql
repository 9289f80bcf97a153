-- Takes a projection back to the log's beginning: its checkpoint, its epochs, its changes and what was parked. Its
-- projector starts anew from there. Lock: the checkpoint's row, so a batch under way commits before, and is then
-- truncated, or finds it gone.
WITH gone AS (DELETE FROM headwater_read.parked WHERE projection = $1),
changes AS (DELETE FROM headwater_read.change WHERE projection = $1),
epochs AS (DELETE FROM headwater_read.epoch_start WHERE projection = $1)
DELETE FROM headwater_read.checkpoint WHERE projection = $1
