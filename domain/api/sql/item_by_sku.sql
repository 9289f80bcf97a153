-- The listed item of a store that has a SKU.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (store_id, sku, item_id) WHERE listed
-- invariant: should two have it, the lower id is taken, always the same
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision,
       i.item_id, i.store_id, i.sku, i.name, i.currency, i.price, i.on_hand, i.units_sold,
       i.revenue, i.listed, i.version
FROM headwater_read.checkpoint AS c
LEFT JOIN LATERAL (
    SELECT *
    FROM headwater_read.item AS i
    WHERE i.listed AND i.store_id = $2 AND i.sku = $3
    ORDER BY i.item_id
    LIMIT 1
) AS i ON true
WHERE c.projection = $1
