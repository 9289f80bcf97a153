-- Rows of the view user by their keys.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (user_id)
-- invariant: the checkpoint comes even when no row does, so that a miss is dated too
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision,
       r.user_id, r.email, r.name, r.status, r.registered_at, r.version
FROM headwater_read.checkpoint AS c
LEFT JOIN headwater_read."user" AS r ON r.user_id = ANY ($2)
WHERE c.projection = $1
