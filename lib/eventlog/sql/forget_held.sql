-- Forgets what these streams held (held.sql): they are looked at anew.
WITH claims AS (DELETE FROM held_claim WHERE stream = ANY ($1)),
     marks AS (DELETE FROM held_mark WHERE stream = ANY ($1))
DELETE FROM foreign_stream WHERE stream = ANY ($1)
