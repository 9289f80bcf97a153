-- The new log's head rows, one a partition. Lock: the migration's advisory lock is held.
INSERT INTO headwater_log.head (partition) SELECT generate_series(0, $1::int - 1)
