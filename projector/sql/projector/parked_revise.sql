-- Raises the projection's revision, and records the rows of a view that changed for those who watch; the transaction
-- holds the checkpoint's row.
SELECT headwater_read.revise($1, $2, $3, $4)
