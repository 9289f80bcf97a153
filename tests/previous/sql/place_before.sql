-- Where the last append at or before a position ended. Index: event_pkey, backwards; an append has at most 1,024
-- events.
SELECT position, digest FROM headwater_log.event
 WHERE partition = $1 AND position <= $2 AND digest IS NOT NULL
 ORDER BY position DESC LIMIT 1
