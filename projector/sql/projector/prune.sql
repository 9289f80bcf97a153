-- Deletes all but the newest $2 changes (one a commit or revision, and view), and says from where on they are kept.
-- Locks: the deleted rows, the checkpoint's row. Index: change's primary key, backwards.
WITH cut AS (
    SELECT applied, revision, positions FROM headwater_read.change WHERE projection = $1::text
     ORDER BY applied DESC, revision DESC OFFSET $2::bigint LIMIT 1
),
gone AS (
    DELETE FROM headwater_read.change c USING cut
     WHERE c.projection = $1::text AND (c.applied, c.revision) <= (cut.applied, cut.revision)
)
UPDATE headwater_read.checkpoint SET watched_from = cut.positions, watched_revision = cut.revision
  FROM cut WHERE projection = $1::text
