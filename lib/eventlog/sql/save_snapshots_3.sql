-- Keeps the newest snapshot of each stream and format. Index: stream_snapshot_pkey. One of a lower version takes the
-- place of one whose event is not there any more, which would be in the way for ever.
INSERT INTO headwater_log.stream_snapshot AS old (
       stream, format, version, position, epoch, command_id, aggregate, state)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::bigint[], $5::integer[], $6::uuid[], $7::text[],
                     $8::bytea[])
ON CONFLICT (stream, format) DO UPDATE
   SET version = excluded.version, position = excluded.position, epoch = excluded.epoch,
       command_id = excluded.command_id, aggregate = excluded.aggregate, state = excluded.state
 WHERE old.version < excluded.version
    OR (SELECT true FROM headwater_log.event e
         WHERE e.stream = old.stream AND e.version = old.version AND e.command_id = old.command_id LIMIT 1) IS NULL
