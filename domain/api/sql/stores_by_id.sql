-- Stores by their ids.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (store_id)
-- invariant: the checkpoint comes even when no row does, so that a miss is dated too
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of,
       s.store_id, s.name, s.city, s.currency, s.status, s.manager_id, s.opened_at, s.version
FROM headwater_read.checkpoint AS c
LEFT JOIN headwater_read.store AS s ON s.store_id = ANY ($2)
WHERE c.projection = $1
