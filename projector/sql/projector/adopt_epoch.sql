-- The checkpoint moves to a new epoch of its log, whose history up to it was found to be the one that was applied; with
-- it come the epochs that the log went through, by which queries judge tokens of earlier ones.
-- $2 to $4: the checkpoint that was compared. $5: the epochs, the last one is the new one. $6: where each began, one
-- position a partition, one after the other.
--
-- Lock: the checkpoint's row. Index: the primary keys.
-- Invariant: nothing is written unless the checkpoint still stands where it was compared. The revision is raised, so
-- that a projector which still reads the log as it was before cannot commit on top of it.
WITH moved AS (
    UPDATE headwater_read.checkpoint
       SET epoch = ($5::integer[])[cardinality($5::integer[])], revision = revision + 1
     WHERE projection = $1::text AND positions = $2::bigint[] AND digests = $3::bytea[] AND revision = $4::bigint
    RETURNING projection
),
gone AS (
    DELETE FROM headwater_read.epoch_start e USING moved
     WHERE e.projection = moved.projection AND e.epoch <> ALL ($5::integer[])
),
kept AS (
    INSERT INTO headwater_read.epoch_start (projection, epoch, positions)
    SELECT moved.projection, e.epoch, ($6::bigint[])[(e.n - 1) * c.width + 1 : e.n * c.width]
      FROM moved, (SELECT cardinality($6::bigint[]) / cardinality($5::integer[]) AS width) c,
           unnest($5::integer[]) WITH ORDINALITY AS e (epoch, n)
    ON CONFLICT (projection, epoch) DO UPDATE SET positions = excluded.positions
)
SELECT count(*) FROM moved
