-- A page of all rows of the view store_overview, by revenue DESC and key.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (revenue DESC, store_id)
-- invariant: (revenue, store_id) is unique and the order of the index. The first condition on
-- revenue bounds the scan: a row comparison cannot, since the two columns run in
-- opposite directions
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision,
       r.store_id, r.name, r.city, r.currency, r.status, r.manager_id, r.manager_name,
       r.items, r.units_in_stock, r.stock_value, r.units_sold, r.revenue
FROM headwater_read.checkpoint AS c
LEFT JOIN LATERAL (
    SELECT *
    FROM headwater_read."store_overview" AS r
    WHERE r.revenue <= $2 AND (r.revenue < $2 OR r.store_id > $3)
    ORDER BY r.revenue DESC, r.store_id
    LIMIT $4
) AS r ON true
WHERE c.projection = $1
ORDER BY r.revenue DESC, r.store_id
