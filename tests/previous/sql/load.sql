-- The newest trusted snapshot and the events after it, of several streams. Index: snapshot_pkey, event_stream.
-- Snapshots are looked for only at the first step (after = 0; -1 reads from the start without one).
-- epoch is the one whose history this is of.
-- A snapshot counts only if the event that it was made from is still where it was: after a lost tail of the log (a
-- failover, a restore) it does not. A stream gives at most $3 events; the caller asks again for the rest.
SELECT l.epoch, s.stream, n.version AS snapshot_version, n.aggregate, n.format, n.state,
       n.position AS snapshot_position, e.position, e.version, e.recorded_at, e.command_id, e.partition,
       e.schema_version, e.type, e.payload, e.caller, e.traceparent
  FROM headwater_log.log l
 CROSS JOIN unnest($1::uuid[], $2::bigint[]) s(stream, after)
  LEFT JOIN LATERAL (
        SELECT n.* FROM headwater_log.snapshot n
         WHERE n.stream = s.stream AND s.after = 0
           AND EXISTS (SELECT FROM headwater_log.event e
                        WHERE e.stream = n.stream AND e.version = n.version AND e.position = n.position)) n ON true
  LEFT JOIN LATERAL (
        SELECT e.* FROM headwater_log.event e
         WHERE e.stream = s.stream AND e.version > greatest(coalesce(n.version, 0), s.after)
         ORDER BY e.version LIMIT $3) e ON true
 ORDER BY s.stream, e.version
