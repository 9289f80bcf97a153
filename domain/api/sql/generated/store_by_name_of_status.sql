-- A page of the rows of one status of the view store, by name and key.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (status, name, store_id)
-- invariant: (name, store_id) is unique and the order of the index, so a page begins exactly
-- where the last one ended
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision,
       r.store_id, r.name, r.city, r.currency, r.status, r.manager_id, r.opened_at,
       r.version
FROM headwater_read.checkpoint AS c
LEFT JOIN LATERAL (
    SELECT *
    FROM headwater_read."store" AS r
    WHERE r.status = $5 AND (r.name, r.store_id) > ($2, $3)
    ORDER BY r.name, r.store_id
    LIMIT $4
) AS r ON true
WHERE c.projection = $1
ORDER BY r.name, r.store_id
