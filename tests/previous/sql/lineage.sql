-- Which log this is, the epoch it is in, and how each of its epochs began. A few rows.
-- Lock: none. Invariant: a standby gives no row, since it may lack the newest epoch.
SELECT l.id, l.epoch AS current, s.epoch, s.positions
  FROM headwater_log.log l LEFT JOIN headwater_log.epoch_start s ON s.epoch <= l.epoch
 WHERE NOT pg_is_in_recovery()
 ORDER BY s.epoch
