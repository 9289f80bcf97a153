-- What a read node shows: its role and every checkpoint. Index: checkpoint_pkey (a row a projection).
SELECT pg_is_in_recovery() AS is_replica, c.projection, c.positions, c.as_of,
       (SELECT count(p.projection) FROM headwater_read.parked p WHERE p.projection = c.projection) AS parked
  FROM headwater_read.checkpoint c ORDER BY c.projection
