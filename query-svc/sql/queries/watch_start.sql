-- Whether all changes of a view ($2) after a token's positions ($3) are kept, and the last of its commits that the
-- token covers, or 0.
-- lock: none
-- index: (projection, applied, view)
-- invariant: read backwards from as many events as the token covers, the first commit that it covers is the last one,
-- since positions grow from commit to commit
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of,
       headwater_read.is_within(c.watched_from, $3::bigint[]),
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
