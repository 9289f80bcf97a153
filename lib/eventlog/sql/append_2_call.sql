-- One batch, on a log whose schema is of edition 2 still. The function of that edition locks the partition's row of the
-- table head, and checks as append_3 does.
SELECT * FROM headwater_log.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                                   $19, $20, $21, $22, $23)
