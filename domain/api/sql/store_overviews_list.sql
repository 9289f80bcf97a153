-- A page of the overviews of all stores, by revenue, largest first, and id.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (revenue DESC, store_id)
-- invariant: (revenue, store_id) is unique and the order of the index. The first condition on
-- revenue bounds the scan: a row comparison cannot, since the two columns run in opposite
-- directions
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of,
       o.store_id, o.name, o.city, o.currency, o.status, o.manager_id, o.manager_name, o.items,
       o.units_in_stock, o.stock_value, o.units_sold, o.revenue
FROM headwater_read.checkpoint AS c
LEFT JOIN LATERAL (
    SELECT *
    FROM headwater_read.store_overview AS o
    WHERE o.revenue <= $2 AND (o.revenue < $2 OR o.store_id > $3)
    ORDER BY o.revenue DESC, o.store_id
    LIMIT $4
) AS o ON true
WHERE c.projection = $1
ORDER BY o.revenue DESC, o.store_id
