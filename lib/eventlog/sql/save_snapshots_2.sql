-- On a log whose schema is of edition 2 still: keeps the newest snapshot of each stream. Index: snapshot_pkey.
INSERT INTO headwater_log.snapshot AS old (stream, version, position, aggregate, format, state)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::smallint[], $6::bytea[])
ON CONFLICT (stream) DO UPDATE
   SET version = excluded.version, position = excluded.position, aggregate = excluded.aggregate,
       format = excluded.format, state = excluded.state
 WHERE old.version < excluded.version OR old.format <> excluded.format
