-- The next events of a partition. Index: event_pkey. now() is the start of the transaction, so everything that was
-- committed (and acknowledged) before it is in the snapshot: when fewer than $3 events come back, they are all there
-- was at that time. One row without an event if there is none, so that the time always comes.
SELECT t.at AS read_at, e.position, e.version, e.recorded_at, e.stream, e.command_id, e.partition, e.schema_version,
       e.type, e.payload, e.caller, e.traceparent, e.digest
  FROM (SELECT now() AS at) t
  LEFT JOIN LATERAL (
        SELECT * FROM headwater_log.event
         WHERE partition = $1 AND position > $2
         ORDER BY position LIMIT $3) e ON true
 ORDER BY e.position
