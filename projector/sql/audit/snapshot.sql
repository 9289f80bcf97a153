-- One snapshot for the checkpoint and all rows that are compared with it.
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY
