-- Rows of the view store that changed after the place ($2, $3, $4), at most $5, each at its last change;
-- with each, whether all changes after the place are kept.
-- lock: none; one statement, hence one snapshot for changes, rows and checkpoint
-- index: (store_id)
-- invariant: a row shows the state that the change beside it led to, since it has not changed again; the changes are
-- read by (projection, applied, revision, view)
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision,
       (headwater_read.applied(c.watched_from), c.watched_revision) < ($2, $3),
       ch.key::uuid, ch.applied, ch.revision, ch.former, ARRAY[r.city, r.status],
       r.store_id, r.name, r.city, r.currency, r.status, r.manager_id, r.opened_at,
       r.version
FROM headwater_read.checkpoint AS c
LEFT JOIN headwater_read.changed($1, 'store', $2, $3, $4, $5) AS ch ON true
LEFT JOIN headwater_read."store" AS r ON r.store_id = ch.key::uuid
WHERE c.projection = $1
ORDER BY ch.applied, ch.revision, ch.key COLLATE "C"
