-- The new log's one row, of version 1: the steps to later ones follow. Lock: the migration's advisory lock is held.
INSERT INTO headwater_log.log (id, partitions, schema_version) VALUES ($1, $2, 1)
