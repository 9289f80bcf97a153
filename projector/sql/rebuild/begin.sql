-- A projection that no projector has started begins where its draft does. Lock: none but the new rows. Index: the
-- primary keys.
WITH made AS (
    INSERT INTO headwater_read.checkpoint (projection, log_id, epoch, positions, digests, as_of, watched_from)
    SELECT projection, log_id, epoch, positions, digests, as_of, positions
      FROM headwater_draft.checkpoint WHERE projection = $1
    ON CONFLICT (projection) DO NOTHING
    RETURNING projection
)
INSERT INTO headwater_read.epoch_start (projection, epoch, positions)
SELECT e.projection, e.epoch, e.positions FROM headwater_draft.epoch_start e JOIN made USING (projection)
ON CONFLICT (projection, epoch) DO UPDATE SET positions = excluded.positions
