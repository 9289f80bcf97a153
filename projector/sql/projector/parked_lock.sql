-- Keeps the projector from committing until this transaction ends, before rows are read that are written then. Lock:
-- the checkpoint's row. Index: its primary key.
SELECT FROM headwater_read.checkpoint WHERE projection = $1 FOR UPDATE
