-- Inserts the claims and marks that streams hold by their events (held.sql) and the tables lack; answers how many. Of
-- two streams that hold one claim the older one gets it. Lock: appends are stopped (stop_appends).
WITH claims AS (
    INSERT INTO headwater_log.claim (value, stream)
    SELECT h.value, h.stream FROM held_claim h ORDER BY h.value, h.stream
    ON CONFLICT DO NOTHING RETURNING 1),
marks AS (
    INSERT INTO headwater_log.mark (partition, name, stream)
    SELECT h.partition, h.name, h.stream FROM held_mark h
    ON CONFLICT DO NOTHING RETURNING 1)
SELECT (SELECT count(*) FROM claims) + (SELECT count(*) FROM marks)
