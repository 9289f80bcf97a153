-- The new log's one row. Lock: the migration's advisory lock is held.
INSERT INTO headwater_log.log (id, partitions, schema_version) VALUES ($1, $2, $3)
