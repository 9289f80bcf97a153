-- Whether the index of the events' keys is whole; no row if there is none. No lock.
SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = to_regclass('headwater_log.event_key')
