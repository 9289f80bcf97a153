-- One batch; the function (append.sql) says what it locks and checks.
SELECT * FROM headwater_log.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                                   $19, $20, $21, $22, $23)
