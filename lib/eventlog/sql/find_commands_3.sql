-- Which of these commands have been committed: for a commit whose outcome is unknown. Index: event_stream, event_key,
-- eventless_receipt_pkey. The backend that may have committed them has been fenced before, so the answer is final.
-- epoch is the one that the log is in now: what is found is in its history.
-- For command i: its stream, the version of its first event (NULL if it has none), its id, its key (NULL if none).
-- The event is the command's own; the receipt is that of the key, which an earlier command may have been given.
SELECT l.epoch, e.position, e.recorded_at, coalesce(k.stream, r.stream) AS receipt_stream,
       coalesce(k.partition, r.partition)::integer AS receipt_partition,
       coalesce(k.position, r.position) AS receipt_position, coalesce(k.version, r.version) AS receipt_version,
       coalesce(k.key_payload, r.payload) AS payload, coalesce(k.recorded_at, r.recorded_at) AS receipt_recorded_at,
       coalesce(k.command_id, r.command_id) AS receipt_command
  FROM headwater_log.log l
 CROSS JOIN unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[])
            WITH ORDINALITY c(stream, version, command_id, key, n)
  LEFT JOIN headwater_log.event e
    ON e.stream = c.stream AND e.version = c.version AND e.command_id = c.command_id
  LEFT JOIN headwater_log.event k ON k.key = c.key
  LEFT JOIN headwater_log.eventless_receipt r ON r.key = c.key
 ORDER BY c.n
