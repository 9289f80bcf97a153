-- The heads of all partitions and the time they are of.
SELECT h.partition, h.position, h.digest, now() AS read_at FROM headwater_log.head h ORDER BY h.partition
