-- The next events of all streams, one stream after the other. $1, $2: the last one read. Index: event_stream.
SELECT e.position, e.version, e.recorded_at, e.stream, e.command_id, e.partition::integer, e.schema_version, e.type,
       e.payload, e.caller, e.traceparent
  FROM headwater_log.event e
 WHERE (e.stream, e.version) > ($1, $2)
 ORDER BY e.stream, e.version LIMIT $3
