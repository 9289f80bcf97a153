-- Deletes the changes of all but the newest $2 commits and views, and says from where on they are kept. Locks: the
-- deleted rows, the checkpoint's row. Index: change's primary key, backwards.
WITH cut AS (
    SELECT applied, positions FROM headwater_read.change WHERE projection = $1::text
     ORDER BY applied DESC OFFSET $2::bigint LIMIT 1
),
gone AS (
    DELETE FROM headwater_read.change c USING cut WHERE c.projection = $1::text AND c.applied <= cut.applied
)
UPDATE headwater_read.checkpoint SET watched_from = cut.positions FROM cut WHERE projection = $1::text
