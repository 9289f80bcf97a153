-- Whether all changes of a view ($2) are kept after a token's positions ($3), or after a place in the changes ($4); and
-- the last commit of the view that the token covers, or 0.
-- lock: none
-- index: (projection, applied, view)
-- invariant: read backwards from as many events as the token covers, the first commit that it covers is the last one,
-- since positions grow from commit to commit
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of,
       CASE WHEN $4::bigint IS NULL THEN headwater_read.is_within(c.watched_from, $3::bigint[])
            ELSE headwater_read.applied(c.watched_from) < $4::bigint END,
       coalesce((
           SELECT ch.applied
           FROM headwater_read.change AS ch
           WHERE ch.projection = $1 AND ch.view = $2
             AND ch.applied <= headwater_read.applied($3::bigint[])
             AND headwater_read.is_within(ch.positions, $3::bigint[])
           ORDER BY ch.applied DESC
           LIMIT 1), 0)
FROM headwater_read.checkpoint AS c
WHERE c.projection = $1
