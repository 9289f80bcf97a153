-- The checkpoint of a projection that has applied nothing yet. Of two projectors one inserts, both go on from it.
INSERT INTO headwater_read.checkpoint (projection, log_id, epoch, positions, digests, as_of, watched_from)
VALUES ($1, $2, $3, $4, $5, $6, $4)
ON CONFLICT (projection) DO NOTHING
