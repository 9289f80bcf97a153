-- The log, edition 3, second half: what only programs of edition 2 use is taken away. Run by the migration alone, as
-- the owner, in the transaction in which appends were stopped (stop_appends) and the last events were copied.
DROP TABLE headwater_log.event;
ALTER TABLE headwater_log.event_copy RENAME TO event;
ALTER INDEX headwater_log.event_copy_pkey RENAME TO event_pkey;
ALTER INDEX headwater_log.event_copy_stream RENAME TO event_stream;
ALTER INDEX headwater_log.event_copy_key RENAME TO event_key;
COMMENT ON TABLE headwater_log.event IS
    'Never updated, never deleted. The last event of an append carries the chained digest.';

ALTER TABLE headwater_log.mark ALTER COLUMN partition TYPE integer;
DROP TABLE headwater_log.snapshot;

-- The ends of the partitions: that of its last event, which one probe of the index finds.
DROP TABLE headwater_log.head;
CREATE VIEW headwater_log.head AS
SELECT p.partition, coalesce(e.position, 0) AS position, coalesce(e.recorded_at, '-infinity') AS recorded_at,
       coalesce(e.digest, decode(repeat('00', 32), 'hex')) AS digest
  FROM generate_series(0, (SELECT l.partitions - 1 FROM headwater_log.log l)) p(partition)
  LEFT JOIN LATERAL (
       SELECT e.position, e.recorded_at, e.digest FROM headwater_log.event e
        WHERE e.partition = p.partition ORDER BY e.position DESC LIMIT 1) e ON true;

DROP FUNCTION IF EXISTS headwater_log.append, headwater_log.apply_facts, headwater_log.forget_receipts;
UPDATE headwater_log.log
   SET schema_version = 3, has_old_receipts = EXISTS (SELECT FROM headwater_log.receipt);
