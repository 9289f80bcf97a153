-- Rows of the view item by their keys.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (item_id)
-- invariant: the checkpoint comes even when no row does, so that a miss is dated too
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision,
       r.item_id, r.store_id, r.sku, r.name, r.currency, r.price, r.on_hand,
       r.units_sold, r.revenue, r.listed, r.version
FROM headwater_read.checkpoint AS c
LEFT JOIN headwater_read."item" AS r ON r.item_id = ANY ($2)
WHERE c.projection = $1
