-- Of the events that an operator has dropped, those are in force that were left out of the new tables, too: none after
-- a fold from the log's beginning. Index: dropped_row.
UPDATE headwater_read.dropped d
   SET in_force = NOT d.in_force
 WHERE d.projection = $1
   AND d.in_force <> EXISTS (
       SELECT FROM headwater_draft.dropped k
        WHERE (k.projection, k.view, k.row_key, k.partition, k.position)
            = (d.projection, d.view, d.row_key, d.partition, d.position))
