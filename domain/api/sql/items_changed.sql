-- Stock items that changed after a place in the changes ($2, $3), at most $4, each at its last change.
-- lock: none; one statement, hence one snapshot for changes, rows and checkpoint
-- index: (item_id)
-- invariant: a row shows the state that the change beside it led to, since it has not changed again; the changes are
-- read by (projection, applied, view)
SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of,
       ch.key::uuid, ch.applied, ch.former, ARRAY[i.store_id::text, i.listed::text],
       i.item_id, i.store_id, i.sku, i.name, i.currency, i.price, i.on_hand, i.units_sold,
       i.revenue, i.listed, i.version
FROM headwater_read.checkpoint AS c
LEFT JOIN headwater_read.changed($1, 'item', $2, $3, $4) AS ch ON true
LEFT JOIN headwater_read.item AS i ON i.item_id = ch.key::uuid
WHERE c.projection = $1
ORDER BY ch.applied, ch.key COLLATE "C"
