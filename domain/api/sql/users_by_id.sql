-- Users by their ids.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (user_id)
-- invariant: the checkpoint comes even when no row does, so that a miss is dated too
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of,
       u.user_id, u.email, u.name, u.status, u.registered_at, u.version
FROM headwater_read.checkpoint AS c
LEFT JOIN headwater_read."user" AS u ON u.user_id = ANY ($2)
WHERE c.projection = $1
