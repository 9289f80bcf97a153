-- Deletes the claims and marks that no stream holds by its events (held.sql); answers how many. Lock: appends are
-- stopped (stop_appends), so nothing changes meanwhile.
WITH claims AS (
    DELETE FROM headwater_log.claim c
     WHERE NOT EXISTS (SELECT FROM held_claim h WHERE h.value = c.value AND h.stream = c.stream)
       AND NOT EXISTS (SELECT FROM foreign_stream f WHERE f.stream = c.stream)
    RETURNING 1),
marks AS (
    DELETE FROM headwater_log.mark m
     WHERE NOT EXISTS (SELECT FROM held_mark h
                        WHERE h.partition = m.partition AND h.name = m.name AND h.stream = m.stream)
       AND NOT EXISTS (SELECT FROM foreign_stream f WHERE f.stream = m.stream)
    RETURNING 1)
SELECT (SELECT count(*) FROM claims) + (SELECT count(*) FROM marks)
