-- The node's role and the checkpoints of the projections in $1: what the prober asks, and the first statement of a
-- transaction.
-- lock: none; the first statement of a transaction, it takes the snapshot that all others see
-- index: (projection)
-- invariant: a missing row means that the projection's views cannot be read from the node
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision, c.projection
FROM headwater_read.checkpoint AS c
WHERE c.projection = ANY ($1)
