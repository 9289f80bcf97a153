-- Counters by their ids.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (counter_id)
-- invariant: the checkpoint comes even when no row does, so that a miss is dated too
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of,
       v.counter_id, v.total
FROM headwater_read.checkpoint AS c
LEFT JOIN headwater_read.counter AS v ON v.counter_id = ANY ($2)
WHERE c.projection = $1
