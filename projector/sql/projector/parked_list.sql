-- The event that each row (or stream) of a projection, or with $1 NULL of all of them, waits behind; at most $2. Index:
-- parked_row.
SELECT DISTINCT ON (projection, view, row_key)
       projection, view, row_key, error, partition, position, stream, version, recorded_at, type_name, parked_at, folded
  FROM headwater_read.parked
 WHERE projection = coalesce($1, projection)
 ORDER BY projection, view, row_key, number
 LIMIT $2
