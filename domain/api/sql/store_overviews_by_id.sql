-- Store overviews by the stores' ids.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (store_id)
-- invariant: the checkpoint comes even when no row does, so that a miss is dated too
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of,
       o.store_id, o.name, o.city, o.currency, o.status, o.manager_id, o.manager_name, o.items,
       o.units_in_stock, o.stock_value, o.units_sold, o.revenue
FROM headwater_read.checkpoint AS c
LEFT JOIN headwater_read.store_overview AS o ON o.store_id = ANY ($2)
WHERE c.projection = $1
