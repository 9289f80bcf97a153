-- What still cannot be applied after a retry: the columns as in commit.sql. $12: the number of partitions.
INSERT INTO headwater_read.parked
       (projection, view, row_key, error, partition, position, stream, version, recorded_at, type_name, folded)
SELECT $1::text, p.view, p.row_key, p.error, p.partition, p.position, p.stream, p.version, p.recorded_at, p.type_name,
       ($11::bigint[])[(p.n - 1) * $12::bigint + 1 : p.n * $12::bigint]
  FROM unnest($2::text[], $3::text[], $4::text[], $5::integer[], $6::bigint[], $7::uuid[], $8::bigint[],
              $9::timestamptz[], $10::text[])
       WITH ORDINALITY AS p (view, row_key, error, partition, position, stream, version, recorded_at, type_name, n)
 ORDER BY p.n
