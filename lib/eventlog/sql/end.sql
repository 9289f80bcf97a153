-- Which log this is, how far each of its partitions goes, and the time that this is of: one snapshot.
-- Lock: none. Index: none; one row for each partition.
-- Invariant: a standby gives no row, since it may lack the newest events.
SELECT l.id, l.epoch, h.position, now() AS read_at
  FROM headwater_log.log l CROSS JOIN headwater_log.head h
 WHERE NOT pg_is_in_recovery()
 ORDER BY h.partition
