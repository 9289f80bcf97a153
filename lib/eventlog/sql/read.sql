-- The next events of a partition. Index: event_pkey. now() is the start of the transaction, so everything that was
-- committed (and acknowledged) before it is in the snapshot: when fewer than $3 events come back, they are all there
-- was at that time. One row without an event if there is none, so that time and epoch always come. A standby gives no
-- row at all: it may lack the newest events, and the newest epoch.
SELECT t.at AS read_at, t.epoch, e.position, e.version, e.recorded_at, e.stream, e.command_id, e.partition::integer,
       e.schema_version, e.type, e.payload, e.caller, e.traceparent, e.digest
  FROM (SELECT now() AS at, l.epoch FROM headwater_log.log l WHERE NOT pg_is_in_recovery()) t
  LEFT JOIN LATERAL (
        SELECT * FROM headwater_log.event
         WHERE partition = $1 AND position > $2
         ORDER BY position LIMIT $3) e ON true
 ORDER BY e.position
