-- Where the tables are that move from one schema to another, and which events were left out of them. Lock: none but the
-- new rows. Index: the primary keys, dropped_row.
WITH place AS (
    INSERT INTO headwater_target.checkpoint
           (projection, log_id, epoch, positions, digests, as_of, revision, watched_from, watched_revision)
    SELECT projection, log_id, epoch, positions, digests, as_of, revision, watched_from, watched_revision
      FROM headwater_source.checkpoint WHERE projection = $1
),
epochs AS (
    INSERT INTO headwater_target.epoch_start (projection, epoch, positions)
    SELECT projection, epoch, positions FROM headwater_source.epoch_start WHERE projection = $1
)
INSERT INTO headwater_target.dropped
       (projection, view, row_key, partition, position, stream, type_name, error, dropped_by, dropped_at)
SELECT projection, view, row_key, partition, position, stream, type_name, error, dropped_by, dropped_at
  FROM headwater_source.dropped WHERE projection = $1 AND in_force
