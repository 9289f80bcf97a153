-- Whether all changes of a view ($2) are kept after the state that a token ($3) proves, or after a place in the changes
-- ($4 events, $5 revision); and the last change of the view that the token covers, by its events and its revision. If
-- none of those is kept any more, what is kept comes after it: also on a node that keeps more.
-- $6: the revision of the token's state, or NULL where it is not known; then a revision at just these positions counts
-- as not seen.
-- lock: none
-- index: (projection, applied, revision, view)
-- invariant: read backwards from as many events as the token covers, the first change that it covers is the last one,
-- since positions grow from commit to commit, and a commit comes before the revisions at its positions
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision,
       CASE WHEN $4::bigint IS NULL
            THEN headwater_read.is_within(c.watched_from, $3::bigint[])
                 AND (headwater_read.applied(c.watched_from) < headwater_read.applied($3::bigint[])
                      OR c.watched_revision <= coalesce($6::bigint, 0))
            ELSE (headwater_read.applied(c.watched_from), c.watched_revision) < ($4::bigint, $5::bigint) END,
       coalesce(ch.applied, headwater_read.applied(c.watched_from)), coalesce(ch.revision, c.watched_revision)
FROM headwater_read.checkpoint AS c
LEFT JOIN LATERAL (
    SELECT ch.applied, ch.revision
    FROM headwater_read.change AS ch
    WHERE ch.projection = $1 AND ch.view = $2
      AND ch.applied <= headwater_read.applied($3::bigint[])
      AND headwater_read.is_within(ch.positions, $3::bigint[])
      AND (NOT ch.revised OR ch.applied < headwater_read.applied($3::bigint[]) OR ch.revision <= $6::bigint)
    ORDER BY ch.applied DESC, ch.revision DESC
    LIMIT 1
) AS ch ON true
WHERE c.projection = $1
