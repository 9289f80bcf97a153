-- Rows of the view store by their keys.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (store_id)
-- invariant: the checkpoint comes even when no row does, so that a miss is dated too
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision,
       r.store_id, r.name, r.city, r.currency, r.status, r.manager_id, r.opened_at,
       r.version
FROM headwater_read.checkpoint AS c
LEFT JOIN headwater_read."store" AS r ON r.store_id = ANY ($2)
WHERE c.projection = $1
