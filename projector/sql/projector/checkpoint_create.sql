-- The checkpoint of a projection that has applied nothing yet, and the epochs that its log went through: $7 and $8, as
-- in adopt_epoch.sql. Of two projectors one inserts, both go on from it.
WITH made AS (
    INSERT INTO headwater_read.checkpoint (projection, log_id, epoch, positions, digests, as_of, watched_from)
    VALUES ($1, $2, $3, $4, $5, $6, $4)
    ON CONFLICT (projection) DO NOTHING
    RETURNING projection
)
INSERT INTO headwater_read.epoch_start (projection, epoch, positions)
SELECT made.projection, e.epoch, ($8::bigint[])[(e.n - 1) * c.width + 1 : e.n * c.width]
  FROM made, (SELECT cardinality($8::bigint[]) / cardinality($7::integer[]) AS width) c,
       unnest($7::integer[]) WITH ORDINALITY AS e (epoch, n)
ON CONFLICT (projection, epoch) DO UPDATE SET positions = excluded.positions
