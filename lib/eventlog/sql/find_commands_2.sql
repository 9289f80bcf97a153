-- On a log whose schema is of edition 2 still: which of these commands have been committed, for a commit whose outcome
-- is unknown. Index: event_stream, receipt_pkey. The backend that may have committed them has been fenced before, so
-- the answer is final.
-- epoch is the one that the log is in now: what is found is in its history.
-- For command i: its stream, the version of its first event (NULL if it has none), its id, its key (NULL if none).
-- The event is the command's own; the receipt is that of the key, which an earlier command may have been given.
SELECT l.epoch, e.position, e.recorded_at, r.stream AS receipt_stream,
       r.partition::integer AS receipt_partition,
       r.position AS receipt_position, r.version AS receipt_version, r.payload, r.recorded_at AS receipt_recorded_at,
       NULL::uuid AS receipt_command
  FROM headwater_log.log l
 CROSS JOIN unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[])
            WITH ORDINALITY c(stream, version, command_id, key, n)
  LEFT JOIN headwater_log.event e
    ON e.stream = c.stream AND e.version = c.version AND e.command_id = c.command_id
  LEFT JOIN headwater_log.receipt r ON r.key = c.key
 ORDER BY c.n
