-- Copies the next events of a partition into the table that takes the place of the table event, and tells each the
-- epoch that it was appended in; answers how many. Events never change, so a copy made while others append is right.
-- Index: event_pkey, event_copy_pkey. Lock: none that appends take.
WITH copied AS (
    INSERT INTO headwater_log.event_copy (
        position, version, recorded_at, stream, command_id, partition, epoch, schema_version, type, payload, caller,
        traceparent, digest, subject, key, key_payload)
    SELECT e.position, e.version, e.recorded_at, e.stream, e.command_id, e.partition,
           coalesce(e.epoch, (SELECT max(s.epoch) FROM headwater_log.epoch_start s
                               WHERE s.positions[e.partition + 1] < e.position)),
           e.schema_version, e.type, e.payload, e.caller, e.traceparent, e.digest, e.subject, e.key, e.key_payload
      FROM headwater_log.event e
     WHERE e.partition = $1
       AND e.position > coalesce((SELECT max(c.position) FROM headwater_log.event_copy c WHERE c.partition = $1), 0)
     ORDER BY e.position LIMIT $2
    RETURNING 1)
SELECT count(*) FROM copied
