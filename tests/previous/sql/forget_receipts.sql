-- Deletes a portion of the receipts that are too old; the function (append.sql) says how it finds them.
SELECT headwater_log.forget_receipts(make_interval(hours => $1), $2)
