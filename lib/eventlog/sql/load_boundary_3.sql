-- The next events of a partition that a query matches, in the order of their positions: for a decision across
-- aggregates. Lock: none. Index: event_stream for items of a stream, tag_pkey for items of tags, event_pkey for items
-- of types alone.
-- $1 partition, $2 the query's items, each with the position, and for its stream the version, after which it is read;
-- $3 streams whose versions are wanted; at most $4 events. All of one snapshot: head is the end of the partition in it,
-- so fewer than $4 events are all there are up to there. One row without an event if there is none. Looks at one row
-- have a limit, and the events are joined one by one: neither may become a walk over a whole table.
WITH wanted AS (
    SELECT DISTINCT m.position
      FROM unnest($2::headwater_log.item_3[]) i
     CROSS JOIN LATERAL (
           (SELECT e.position FROM headwater_log.event e
             WHERE i.stream IS NOT NULL AND e.stream = i.stream AND e.version > i.version AND e.position > i.after
               AND e.partition = $1 AND (i.types IS NULL OR e.type = ANY (i.types))
               AND NOT EXISTS (
                   SELECT FROM unnest(i.tags) o(tag)
                    WHERE (SELECT true FROM headwater_log.tag t
                            WHERE t.partition = $1 AND t.tag = o.tag AND t.position = e.position LIMIT 1) IS NULL)
             ORDER BY e.version LIMIT $4)
            UNION ALL
           (SELECT t.position FROM headwater_log.tag t
             WHERE i.stream IS NULL AND i.tags IS NOT NULL AND t.partition = $1 AND t.tag = i.tags[1]
               AND t.position > i.after AND (i.types IS NULL OR t.type = ANY (i.types))
               AND NOT EXISTS (
                   SELECT FROM unnest(i.tags[2:]) o(tag)
                    WHERE (SELECT true FROM headwater_log.tag u
                            WHERE u.partition = $1 AND u.tag = o.tag AND u.position = t.position LIMIT 1) IS NULL)
             ORDER BY t.position LIMIT $4)
            UNION ALL
           (SELECT e.position FROM headwater_log.event e
             WHERE i.stream IS NULL AND i.tags IS NULL AND e.partition = $1 AND e.position > i.after
               AND (i.types IS NULL OR e.type = ANY (i.types))
             ORDER BY e.position LIMIT $4)) m
     ORDER BY m.position LIMIT $4)
SELECT l.epoch, coalesce(h.position, 0) AS head, v.versions, e.position, e.version, e.recorded_at, e.stream,
       e.command_id, e.partition::integer, e.schema_version, e.type, e.payload, e.caller, e.traceparent
  FROM headwater_log.log l
  LEFT JOIN LATERAL (
       SELECT e.position FROM headwater_log.event e WHERE e.partition = $1 ORDER BY e.position DESC LIMIT 1) h ON true
 CROSS JOIN LATERAL (
       SELECT array(SELECT coalesce((SELECT e.version FROM headwater_log.event e WHERE e.stream = s.stream
                                      ORDER BY e.version DESC LIMIT 1), 0)
                      FROM unnest($3::uuid[]) WITH ORDINALITY s(stream, n) ORDER BY s.n) AS versions) v
  LEFT JOIN (wanted w CROSS JOIN LATERAL (
       SELECT * FROM headwater_log.event e WHERE e.partition = $1 AND e.position = w.position LIMIT 1) e) ON true
 ORDER BY e.position
