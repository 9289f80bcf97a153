-- Which of these commands have been committed: for a commit whose outcome is unknown. Index: event_stream,
-- receipt_pkey. The backend that may have committed them has been fenced before, so the answer is final.
-- epoch is the one that the log is in now: what is found is in its history.
-- For command i: its stream, the version of its first event (NULL if it has none), its id, its key (NULL if none).
SELECT l.epoch, c.n, coalesce(e.position, r.position) AS position, coalesce(e.recorded_at, r.recorded_at) AS recorded_at
  FROM headwater_log.log l
 CROSS JOIN unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[])
            WITH ORDINALITY c(stream, version, command_id, key, n)
  LEFT JOIN headwater_log.event e
    ON e.stream = c.stream AND e.version = c.version AND e.command_id = c.command_id
  LEFT JOIN headwater_log.receipt r ON r.key = c.key AND r.stream = c.stream AND c.version IS NULL
 ORDER BY c.n
