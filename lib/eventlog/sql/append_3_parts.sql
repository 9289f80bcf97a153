-- The parts of append_3 (append_3.sql) that only some batches need. They run under its lock, as the owner, and are
-- granted to nobody.

-- The commands that fail by what most batches do not have: a key that a program of edition 2 has kept the receipt of;
-- claims that another stream has, and guards that do not hold, each with the first one's number.
-- Index: receipt_pkey, claim_pkey, mark_pkey. Here and below a look at one row is a subquery with a limit and not an
-- EXISTS, which the planner may answer from a hash of the whole table, made anew by each call.
CREATE OR REPLACE FUNCTION headwater_log.rare_failures(
    in_partition integer, in_old_receipts boolean, in_commands headwater_log.command_3[],
    in_facts headwater_log.fact_3[]
) RETURNS headwater_log.failure_3[] LANGUAGE plpgsql VOLATILE
SET search_path = headwater_log, pg_temp
AS $rare$
DECLARE
    v_failures failure_3[] := '{}';
BEGIN
    IF in_old_receipts THEN
        v_failures := v_failures || array(
            SELECT ROW(c.n, CASE WHEN r.payload = c.payload THEN 2 ELSE 3 END, r.version, r.position,
                       (extract(epoch FROM r.recorded_at) * 1000000)::bigint, r.stream, r.partition, NULL)::failure_3
              FROM unnest(in_commands) WITH ORDINALITY c(
                       stream, command_id, expected, events, chain, key, old_key, payload, store, n)
              JOIN receipt r ON r.key = c.old_key
             -- Of what an event tells, that counts: it knows of several streams.
             WHERE NOT EXISTS (SELECT FROM event k WHERE k.key = c.key));
    END IF;
    IF cardinality(in_facts) > 0 THEN
        v_failures := v_failures || array(
            SELECT DISTINCT ON (f.command) ROW(f.command, 4, NULL, NULL, NULL, NULL, NULL, f.n)::failure_3
              FROM unnest(in_facts) WITH ORDINALITY f(command, stream, kind, name, n)
             WHERE CASE f.kind
                   WHEN 't' THEN (SELECT o.stream FROM claim o WHERE o.value = f.name LIMIT 1) <> f.stream
                   WHEN 'p' THEN (SELECT true FROM mark m
                                   WHERE m.partition = in_partition AND m.name = f.name LIMIT 1) IS NULL
                   WHEN 'a' THEN (SELECT true FROM mark m
                                   WHERE m.partition = in_partition AND m.name = f.name LIMIT 1)
                   ELSE false END
             ORDER BY f.command, f.n);
    END IF;
    RETURN v_failures;
END
$rare$;

-- The commands to whose boundaries something was added. Index: event_stream, tag_pkey, event_pkey.
CREATE OR REPLACE FUNCTION headwater_log.boundary_failures(
    in_partition integer, in_commands headwater_log.command_3[], in_items headwater_log.item_3[]
) RETURNS headwater_log.failure_3[] LANGUAGE plpgsql VOLATILE
SET search_path = headwater_log, pg_temp
AS $boundary$
BEGIN
    RETURN array(
        SELECT ROW(f.command, 1, coalesce((SELECT e.version FROM event e WHERE e.stream = in_commands[f.command].stream
                                            ORDER BY e.version DESC LIMIT 1), 0),
                   NULL, NULL, NULL, NULL, NULL)::failure_3
          FROM (SELECT DISTINCT i.command FROM unnest(in_items) i
                 WHERE CASE
                       WHEN i.stream IS NOT NULL AND i.tags IS NULL AND i.types IS NULL THEN
                            i.version <> coalesce((SELECT e.version FROM event e WHERE e.stream = i.stream
                                                    ORDER BY e.version DESC LIMIT 1), 0)
                       WHEN i.stream IS NOT NULL THEN EXISTS (
                            SELECT FROM event e
                             WHERE e.stream = i.stream AND e.version > i.version
                               AND (i.types IS NULL OR e.type = ANY (i.types))
                               AND NOT EXISTS (
                                   SELECT FROM unnest(i.tags) o(tag)
                                    WHERE (SELECT true FROM tag t
                                            WHERE t.partition = in_partition AND t.tag = o.tag
                                              AND t.position = e.position LIMIT 1) IS NULL))
                       WHEN i.tags IS NOT NULL THEN EXISTS (
                            SELECT FROM tag t
                             WHERE t.partition = in_partition AND t.tag = i.tags[1] AND t.position > i.after
                               AND (i.types IS NULL OR t.type = ANY (i.types))
                               AND NOT EXISTS (
                                   SELECT FROM unnest(i.tags[2:]) o(tag)
                                    WHERE (SELECT true FROM tag u
                                            WHERE u.partition = in_partition AND u.tag = o.tag
                                              AND u.position = t.position LIMIT 1) IS NULL))
                       ELSE EXISTS (
                            SELECT FROM event e WHERE e.partition = in_partition AND e.position > i.after
                                                  AND (i.types IS NULL OR e.type = ANY (i.types)))
                       END) f);
END
$boundary$;

-- The tags of the commands that passed, with the numbers that their events have without those of the others.
CREATE OR REPLACE FUNCTION headwater_log.remaining_tags(
    in_tags headwater_log.tag_3[], in_events headwater_log.event_3[], in_failed integer[]
) RETURNS headwater_log.tag_3[] LANGUAGE plpgsql VOLATILE
SET search_path = headwater_log, pg_temp
AS $tags$
DECLARE
    v_numbers bigint[] := array(
        SELECT count(*) FILTER (WHERE e.command <> ALL (in_failed)) OVER (ORDER BY e.n)
          FROM (SELECT u.command, row_number() OVER () AS n FROM unnest(in_events) u) e ORDER BY e.n);
BEGIN
    RETURN array(
        SELECT ROW(t.command, v_numbers[t.event], t.tag, t.type)::tag_3 FROM unnest(in_tags) t
         WHERE t.command <> ALL (in_failed));
END
$tags$;

-- Of the failures found, the one of each command that counts (a known key before a conflict before a claim or guard),
-- and those of the commands that were decided on top of one that is not appended: they are in conflict, whatever the
-- version is, since another process's events may have taken the place of those that were not appended. Many may fail at
-- once, so they are joined by hash, which the session of an appender does not do.
CREATE OR REPLACE FUNCTION headwater_log.all_failures(
    in_commands headwater_log.command_3[], in_failures headwater_log.failure_3[]
) RETURNS headwater_log.failure_3[] LANGUAGE sql VOLATILE
SET search_path = headwater_log, pg_temp
SET enable_hashjoin = on
AS $all$
    WITH command AS (
        SELECT c.n, c.stream, c.events, abs(c.chain) AS chain
          FROM unnest(in_commands) WITH ORDINALITY c(
                   stream, command_id, expected, events, chain, key, old_key, payload, store, n)),
    failed AS (
        SELECT DISTINCT ON (f.command) f AS failure, f.command, f.outcome, c.chain, c.events
          FROM unnest(in_failures) f JOIN command c ON c.n = f.command
         ORDER BY f.command, CASE f.outcome WHEN 1 THEN 3 ELSE f.outcome END)
    SELECT array_agg(a.failure ORDER BY a.command) FROM (
        SELECT f.failure, f.command FROM failed f
         UNION ALL
        SELECT ROW(c.n, 1, coalesce((SELECT e.version FROM event e WHERE e.stream = c.stream
                                      ORDER BY e.version DESC LIMIT 1), 0),
                   NULL, NULL, NULL, NULL, NULL)::failure_3, c.n
          FROM command c
         WHERE NOT EXISTS (SELECT FROM failed f WHERE f.command = c.n)
           AND EXISTS (SELECT FROM failed f WHERE f.chain = c.chain AND f.command < c.n
                                              AND (f.events > 0 OR f.outcome = 1))) a
$all$;

-- Changes claims and marks, and keeps the receipts of commands without events, as the commands that passed say.
CREATE OR REPLACE FUNCTION headwater_log.rare_changes(
    in_partition integer, in_commands headwater_log.command_3[], in_facts headwater_log.fact_3[],
    in_failed integer[], in_first bigint, in_now timestamptz
) RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = headwater_log, pg_temp
AS $changes$
DECLARE
    v_facts fact_3[] := array(
        SELECT f FROM unnest(in_facts) f WHERE in_failed IS NULL OR f.command <> ALL (in_failed));
    v_kinds text[] := array(SELECT DISTINCT f.kind FROM unnest(v_facts) f);
BEGIN
    IF 'f' = ANY (v_kinds) THEN
        DELETE FROM claim c USING unnest(v_facts) f
         WHERE f.kind = 'f' AND c.value = f.name AND c.stream = f.stream;
    END IF;
    IF 't' = ANY (v_kinds) THEN
        INSERT INTO claim (value, stream)
        SELECT f.name, f.stream FROM unnest(v_facts) f
         WHERE f.kind = 't' AND NOT EXISTS (SELECT FROM claim c WHERE c.value = f.name) ORDER BY f.name;
    END IF;
    IF 'c' = ANY (v_kinds) THEN
        DELETE FROM mark m USING unnest(v_facts) f
         WHERE f.kind = 'c' AND m.partition = in_partition AND m.name = f.name
           AND m.stream = f.stream;
    END IF;
    IF 's' = ANY (v_kinds) THEN
        INSERT INTO mark (partition, name, stream)
        SELECT in_partition, f.name, f.stream FROM unnest(v_facts) f
         WHERE f.kind = 's' ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO eventless_receipt (key, payload, command_id, stream, version, position, partition, recorded_at)
    SELECT c.key, c.payload, c.command_id, c.stream, c.expected, in_first + c.upto, in_partition, in_now
      FROM (SELECT u.*, sum(u.events) OVER (ORDER BY u.n) AS upto
              FROM unnest(in_commands) WITH ORDINALITY u(
                       stream, command_id, expected, events, chain, key, old_key, payload, store, n)
             WHERE in_failed IS NULL OR u.n <> ALL (in_failed)) c
     WHERE c.store AND c.key IS NOT NULL;
END
$changes$;

-- While programs of edition 2 may append: what they look at, the head's row and the table receipt.
CREATE OR REPLACE FUNCTION headwater_log.as_edition_2(
    in_partition integer, in_commands headwater_log.command_3[], in_failed integer[], in_first bigint,
    in_events integer, in_digest bytea, in_now timestamptz
) RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = headwater_log, pg_temp
AS $edition_2$
BEGIN
    IF in_events > 0 THEN
        UPDATE head h SET position = in_first + in_events, digest = in_digest, recorded_at = in_now
         WHERE h.partition = in_partition;
    END IF;
    INSERT INTO receipt (key, payload, stream, version, position, recorded_at, partition)
    SELECT c.old_key, c.payload, c.stream, c.expected + c.events, in_first + c.upto, in_now, in_partition
      FROM (SELECT u.*, sum(u.events) OVER (ORDER BY u.n) AS upto
              FROM unnest(in_commands) WITH ORDINALITY u(
                       stream, command_id, expected, events, chain, key, old_key, payload, store, n)
             WHERE in_failed IS NULL OR u.n <> ALL (in_failed)) c
     WHERE c.old_key IS NOT NULL AND (c.events > 0 OR c.store) ORDER BY c.old_key;
END
$edition_2$;
