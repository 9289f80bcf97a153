-- All events of the streams that have been appended to after a position of a partition, one stream after the other.
-- Index: event_pkey, event_stream.
SELECT e.position, e.version, e.recorded_at, e.stream, e.command_id, e.partition::integer, e.schema_version, e.type,
       e.payload, e.caller, e.traceparent
  FROM (SELECT DISTINCT n.stream FROM headwater_log.event n WHERE n.partition = $1 AND n.position > $2) s
  JOIN headwater_log.event e ON e.stream = s.stream
 ORDER BY e.stream, e.version
