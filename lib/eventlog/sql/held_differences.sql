-- Where the tables of claims and marks differ from what streams hold by their events (held.sql): kind c or m, is_held
-- true if the stream holds it and the table lacks it. Streams of which nothing is told are left out. $1: at most so
-- many.
SELECT * FROM (
    SELECT 'c' AS kind, true AS is_held, 0 AS partition, h.value AS name, h.stream
      FROM held_claim h
     WHERE NOT EXISTS (SELECT FROM headwater_log.claim c WHERE c.value = h.value AND c.stream = h.stream)
     UNION ALL
    SELECT 'c', false, 0, c.value, c.stream
      FROM headwater_log.claim c
     WHERE NOT EXISTS (SELECT FROM held_claim h WHERE h.value = c.value AND h.stream = c.stream)
       AND NOT EXISTS (SELECT FROM foreign_stream f WHERE f.stream = c.stream)
     UNION ALL
    SELECT 'm', true, h.partition, h.name, h.stream
      FROM held_mark h
     WHERE NOT EXISTS (SELECT FROM headwater_log.mark m
                        WHERE m.partition = h.partition AND m.name = h.name AND m.stream = h.stream)
     UNION ALL
    SELECT 'm', false, m.partition::integer, m.name, m.stream
      FROM headwater_log.mark m
     WHERE NOT EXISTS (SELECT FROM held_mark h
                        WHERE h.partition = m.partition AND h.name = m.name AND h.stream = m.stream)
       AND NOT EXISTS (SELECT FROM foreign_stream f WHERE f.stream = m.stream)) d
 ORDER BY kind, name, stream LIMIT $1
