-- Which log this is, the epochs it went through, how far each of its partitions goes, and the time that this is of: one
-- snapshot. Lock: none. Index: none; one row for each partition.
-- Invariant: a standby gives no row, since it may lack the newest events. Nor does a server that was promoted before
-- the new epoch has begun: its positions would be taken for those of the old one.
SELECT l.id, l.epoch, h.position, now() AS read_at,
       (SELECT array_agg(s.epoch) FROM headwater_log.epoch_start s WHERE s.epoch <= l.epoch) AS epochs
  FROM headwater_log.log l CROSS JOIN headwater_log.head h
 WHERE l.timeline = headwater_log.timeline()
 ORDER BY h.partition
