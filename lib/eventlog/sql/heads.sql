-- The heads of all partitions, the epoch and the time they are of: one snapshot. Lock: none.
-- Invariant: a standby gives no row, since it may lack the newest events.
SELECT l.epoch, h.partition::integer, h.position, h.digest, now() AS read_at
  FROM headwater_log.log l CROSS JOIN headwater_log.head h
 WHERE NOT pg_is_in_recovery()
 ORDER BY h.partition
