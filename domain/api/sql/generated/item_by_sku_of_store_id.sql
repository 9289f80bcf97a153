-- A page of the rows of one store_id of the view item, by sku and key.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (store_id, sku, item_id) WHERE listed
-- invariant: (sku, item_id) is unique and the order of the index, so a page begins exactly
-- where the last one ended
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision,
       r.item_id, r.store_id, r.sku, r.name, r.currency, r.price, r.on_hand,
       r.units_sold, r.revenue, r.listed, r.version
FROM headwater_read.checkpoint AS c
LEFT JOIN LATERAL (
    SELECT *
    FROM headwater_read."item" AS r
    WHERE r.listed AND r.store_id = $5 AND (r.sku, r.item_id) > ($2, $3)
    ORDER BY r.sku, r.item_id
    LIMIT $4
) AS r ON true
WHERE c.projection = $1
ORDER BY r.sku, r.item_id
