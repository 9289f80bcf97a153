-- Whether all changes after a place ($2 events, $3 revision) are kept. Index: checkpoint's primary key.
SELECT (headwater_read.applied(watched_from), watched_revision) <= ($2::bigint, $3::bigint)
  FROM headwater_read.checkpoint WHERE projection = $1
