-- The events that are left out of rows. Index: dropped_row.
SELECT view, row_key, partition, position FROM headwater_read.dropped WHERE projection = $1 AND in_force
