-- The epochs that the log of the node's checkpoint went through, from the same snapshot: what the prober asks when it
-- sees an epoch for the first time.
-- lock: none
-- index: (projection, epoch)
-- invariant: of the checkpoint's epoch and the ones before it; later ones are not of this history yet
SELECT c.log_id, c.epoch, s.epoch, s.positions
FROM headwater_read.checkpoint AS c
LEFT JOIN headwater_read.epoch_start AS s ON s.projection = c.projection AND s.epoch <= c.epoch
WHERE c.projection = $1
