-- What waits behind parked events; one more than $2 if there is more. Index: parked_row.
SELECT DISTINCT view, row_key FROM headwater_read.parked WHERE projection = $1 LIMIT $2
