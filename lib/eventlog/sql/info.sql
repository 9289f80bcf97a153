-- Which log this is, the oldest edition whose programs may use it and the newest one. No lock; the table has one row.
-- The column edition came with edition 3, and is asked for in this way so that a log without it answers, too.
SELECT id, epoch, partitions, schema_version, coalesce((to_jsonb(l) ->> 'edition')::integer, schema_version) AS edition
  FROM headwater_log.log l
