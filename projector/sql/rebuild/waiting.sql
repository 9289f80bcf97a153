-- Rows and streams that wait behind parked events. Index: parked_row.
SELECT count(*) FROM (SELECT DISTINCT view, row_key FROM headwater_read.parked WHERE projection = $1) w
