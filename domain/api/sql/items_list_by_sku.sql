-- A page of the listed items of a store, by SKU and id.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (store_id, sku, item_id) WHERE listed
-- invariant: (sku, item_id) is unique and the order of the index, so a page begins exactly
-- where the last one ended
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of,
       i.item_id, i.store_id, i.sku, i.name, i.currency, i.price, i.on_hand, i.units_sold,
       i.revenue, i.listed, i.version
FROM headwater_read.checkpoint AS c
LEFT JOIN LATERAL (
    SELECT *
    FROM headwater_read.item AS i
    WHERE i.listed AND i.store_id = $5 AND (i.sku, i.item_id) > ($2, $3)
    ORDER BY i.sku, i.item_id
    LIMIT $4
) AS i ON true
WHERE c.projection = $1
ORDER BY i.sku, i.item_id
