-- Forgets what belongs to the tables that the rebuild before this one kept. Lock: these rows, which nobody else reads.
WITH views AS (DELETE FROM headwater_kept.view_version WHERE projection = $1),
waiting AS (DELETE FROM headwater_kept.parked WHERE projection = $1),
dropped AS (DELETE FROM headwater_kept.dropped WHERE projection = $1),
changes AS (DELETE FROM headwater_kept.change WHERE projection = $1),
epochs AS (DELETE FROM headwater_kept.epoch_start WHERE projection = $1)
DELETE FROM headwater_kept.checkpoint WHERE projection = $1
