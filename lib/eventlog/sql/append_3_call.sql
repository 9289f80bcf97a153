-- One batch; the function (append_3.sql) says what it locks and checks.
SELECT headwater_log.append_3($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
