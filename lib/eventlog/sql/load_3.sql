-- The newest trusted snapshot and the events after it, of several streams. Index: stream_snapshot_pkey, event_stream.
-- Snapshots are looked for only at the first step (after = 0; -1 reads from the start without one), and of the wanted
-- format ($4, one a stream; NULL: of any).
-- epoch is the one whose history this is of.
-- A snapshot counts only if the event that it was made from is still where it was, and of the command that it names:
-- after a lost tail of the log (a failover, a restore) it does not. A stream gives at most $3 events; the caller asks
-- again for the rest. The snapshot comes with the first of them alone.
SELECT l.epoch, s.stream, n.aggregate,
       CASE WHEN e.version IS NULL OR e.version = n.version + 1 THEN n.version END AS snapshot_version,
       n.format, CASE WHEN e.version IS NULL OR e.version = n.version + 1 THEN n.state END AS state,
       n.position AS snapshot_position, n.epoch AS snapshot_epoch, n.command_id AS snapshot_command, e.position,
       e.version, e.recorded_at, e.command_id, e.partition::integer, e.schema_version, e.type, e.payload, e.caller,
       e.traceparent
  FROM headwater_log.log l
 CROSS JOIN unnest($1::uuid[], $2::bigint[], $4::integer[]) s(stream, after, format)
  LEFT JOIN LATERAL (
        SELECT n.* FROM headwater_log.stream_snapshot n
         -- The limit keeps this a look at one event: as a condition it may become a walk over all of the stream's.
         CROSS JOIN LATERAL (
               SELECT FROM headwater_log.event e
                WHERE e.stream = n.stream AND e.version = n.version AND e.position = n.position
                  AND e.command_id = n.command_id LIMIT 1) e
         WHERE n.stream = s.stream AND s.after = 0 AND (s.format IS NULL OR n.format = s.format)
         ORDER BY n.version DESC LIMIT 1) n ON true
  LEFT JOIN LATERAL (
        SELECT e.* FROM headwater_log.event e
         WHERE e.stream = s.stream AND e.version > greatest(coalesce(n.version, 0), s.after)
         ORDER BY e.version LIMIT $3) e ON true
 ORDER BY s.stream, e.version
