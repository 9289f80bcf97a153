-- The rows that are not the fold of the log, and why that is known: they wait behind parked events, or lack events that
-- were dropped. Indexes: parked_row, dropped_row.
SELECT view, row_key FROM headwater_read.parked WHERE projection = $1
UNION
SELECT view, row_key FROM headwater_read.dropped WHERE projection = $1 AND in_force
