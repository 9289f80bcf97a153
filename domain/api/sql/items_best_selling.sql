-- The best-selling items of a store ($2), at most $3 of them, most units first.
-- lock: none; runs in a transaction whose first statement has taken the snapshot
-- index: (store_id, units_sold DESC, item_id)
-- invariant: (units_sold, item_id) is unique and the order of the index, so equal sales are always told in one order
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision,
       i.item_id, i.store_id, i.sku, i.name, i.currency, i.price, i.on_hand, i.units_sold,
       i.revenue, i.listed, i.version
FROM headwater_read.checkpoint AS c
LEFT JOIN LATERAL (
    SELECT *
    FROM headwater_read.item AS i
    WHERE i.store_id = $2 AND i.units_sold > 0
    ORDER BY i.units_sold DESC, i.item_id
    LIMIT $3
) AS i ON true
WHERE c.projection = $1
ORDER BY i.units_sold DESC, i.item_id
