-- Stock items by their ids.
-- lock: none; one statement, hence one snapshot for rows and checkpoint
-- index: (item_id)
-- invariant: the checkpoint comes even when no row does, so that a miss is dated too
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of,
       i.item_id, i.store_id, i.sku, i.name, i.currency, i.price, i.on_hand, i.units_sold,
       i.revenue, i.listed, i.version
FROM headwater_read.checkpoint AS c
LEFT JOIN headwater_read.item AS i ON i.item_id = ANY ($2)
WHERE c.projection = $1
