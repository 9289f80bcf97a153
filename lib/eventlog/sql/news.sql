-- The events of a partition after a place, at most $3, but for a piece that the reader has appended itself
-- ($4 exclusive to $5). One row without an event if there is none, so that the epoch always comes. Index: event_pkey.
SELECT l.epoch, e.position, e.version, e.recorded_at, e.stream, e.command_id, e.partition::integer, e.schema_version,
       e.type, e.payload, e.caller, e.traceparent
  FROM headwater_log.log l
  LEFT JOIN LATERAL (
        SELECT * FROM headwater_log.event
         WHERE partition = $1 AND position > $2 AND NOT (position > $4 AND position <= $5)
         ORDER BY position LIMIT $3) e ON true
 ORDER BY e.position
