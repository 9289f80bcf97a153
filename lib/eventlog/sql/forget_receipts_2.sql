-- Deletes a portion of the receipts that are too old, on a log whose schema is of edition 2 still.
SELECT headwater_log.forget_receipts(make_interval(hours => $1), $2)
