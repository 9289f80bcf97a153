-- A projection's checkpoint; no row before its first projector has started. Index: its primary key.
SELECT log_id, epoch, positions, digests, as_of, revision FROM headwater_read.checkpoint WHERE projection = $1
