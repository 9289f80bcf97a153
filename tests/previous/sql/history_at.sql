-- The digests of the log at one position of each partition, NULL where no append ends there, and the epoch that this is
-- of: one snapshot. $1: the positions, from partition 0. Index: event_pkey.
-- Invariant: a standby gives no row, since it may lack the newest epoch.
SELECT l.epoch, e.digest
  FROM headwater_log.log l
 CROSS JOIN unnest($1::bigint[]) WITH ORDINALITY p(position, n)
  LEFT JOIN headwater_log.event e ON e.partition = p.n - 1 AND e.position = p.position
 WHERE NOT pg_is_in_recovery()
 ORDER BY p.n
