-- Deletes a portion of the receipts that are too old; the function (receipts.sql) says how it finds them.
SELECT headwater_log.forget_receipts_3(make_interval(hours => $1), $2)
