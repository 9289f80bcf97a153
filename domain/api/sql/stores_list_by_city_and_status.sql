-- A page of the stores of one city and status, by name and id.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (city, status, name, store_id)
-- invariant: (name, store_id) is unique and the order of the index, so a page begins exactly
-- where the last one ended
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of,
       s.store_id, s.name, s.city, s.currency, s.status, s.manager_id, s.opened_at, s.version
FROM headwater_read.checkpoint AS c
LEFT JOIN LATERAL (
    SELECT *
    FROM headwater_read.store AS s
    WHERE s.city = $5 AND s.status = $6 AND (s.name, s.store_id) > ($2, $3)
    ORDER BY s.name, s.store_id
    LIMIT $4
) AS s ON true
WHERE c.projection = $1
ORDER BY s.name, s.store_id
