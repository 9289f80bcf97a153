-- A page of the stores whose name matches a text query, by name and id.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: gin (to_tsvector('simple'::regconfig, name))
-- invariant: what matches is found first, by the text index. Without MATERIALIZED the planner,
-- which cannot know how rare the words are, may instead walk all stores by name until it has a
-- page full of matches
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision,
       s.store_id, s.name, s.city, s.currency, s.status, s.manager_id, s.opened_at, s.version
FROM headwater_read.checkpoint AS c
LEFT JOIN LATERAL (
    WITH found AS MATERIALIZED (
        SELECT *
        FROM headwater_read.store AS s
        WHERE to_tsvector('simple', s.name) @@ to_tsquery('simple', $5)
    )
    SELECT *
    FROM found AS s
    WHERE (s.name, s.store_id) > ($2, $3)
    ORDER BY s.name, s.store_id
    LIMIT $4
) AS s ON true
WHERE c.projection = $1
ORDER BY s.name, s.store_id
