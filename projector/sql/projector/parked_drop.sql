-- Leaves an event out of a row for good, and says who did.
INSERT INTO headwater_read.dropped
       (projection, view, row_key, partition, position, stream, type_name, error, dropped_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
