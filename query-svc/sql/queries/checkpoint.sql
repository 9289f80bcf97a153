-- The node's role and the projection's checkpoint: what the prober asks.
-- lock: none
-- index: (projection)
-- invariant: a missing row means that the node cannot be read from
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of
FROM headwater_read.checkpoint AS c
WHERE c.projection = $1
