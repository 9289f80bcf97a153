-- Whoever watches has to read anew: from here on changes are kept. Lock: the checkpoint's row. Index: its primary key.
UPDATE headwater_read.checkpoint SET watched_from = positions, watched_revision = revision WHERE projection = $1
