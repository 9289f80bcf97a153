-- The checkpoint, the epochs and the changes of a log's other history go, and those of the draft come in their place.
-- Lock: the checkpoint's row, which the transaction holds. Index: the primary keys.
WITH changes AS (DELETE FROM headwater_read.change WHERE projection = $1),
gone AS (
    DELETE FROM headwater_read.epoch_start e
     WHERE e.projection = $1
       AND e.epoch NOT IN (SELECT epoch FROM headwater_draft.epoch_start WHERE projection = $1)
),
epochs AS (
    INSERT INTO headwater_read.epoch_start (projection, epoch, positions)
    SELECT projection, epoch, positions FROM headwater_draft.epoch_start WHERE projection = $1
    ON CONFLICT (projection, epoch) DO UPDATE SET positions = excluded.positions
)
UPDATE headwater_read.checkpoint c
   SET log_id = d.log_id, epoch = d.epoch, positions = d.positions, digests = d.digests, as_of = d.as_of
  FROM headwater_draft.checkpoint d
 WHERE c.projection = $1 AND d.projection = $1
