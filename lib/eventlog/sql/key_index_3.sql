-- The log, edition 3: the index of the events' keys. Keys that tell the time when they were made grow it at its end.
-- Run by the migration alone, as the owner, outside of a transaction: it reads the whole table, and takes no lock that
-- an append waits for. Interrupted, it leaves an index that is not valid (key_index_is_valid_3.sql).
CREATE UNIQUE INDEX CONCURRENTLY event_key ON headwater_log.event (key) WHERE key IS NOT NULL
