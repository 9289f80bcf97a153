-- Users by their e-mail addresses, at most one for each.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (email)
-- invariant: while an address moves from a user of one partition to a user of another, the view
-- may show both for a moment, since order is defined within a partition only; the one who
-- registered last is taken, always the same
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision,
       u.user_id, u.email, u.name, u.status, u.registered_at, u.version
FROM headwater_read.checkpoint AS c
LEFT JOIN LATERAL (
    SELECT DISTINCT ON (u.email) *
    FROM headwater_read."user" AS u
    WHERE u.email = ANY ($2)
    ORDER BY u.email, u.registered_at DESC, u.user_id
) AS u ON true
WHERE c.projection = $1
