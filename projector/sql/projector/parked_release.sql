-- These rows wait no more. $2 and $3: view and key of each. Index: parked_row.
DELETE FROM headwater_read.parked p USING unnest($2::text[], $3::text[]) r(view, row_key)
 WHERE p.projection = $1 AND p.view = r.view AND p.row_key = r.row_key
