-- headwater_log.append_3: one batch of commands of one partition, in one call and one transaction.
--
-- Lock: one advisory lock a partition, from the first statement to the commit (while programs of edition 2 may append,
-- the partition's row of the table head too, which is theirs). Whoever holds it is the only one to append to the
-- partition, so every check below is free of races with other appends of it, and commit order is position order:
-- Postgres makes a commit visible before it gives its locks back. It must be a VOLATILE plpgsql function and not one
-- SQL statement: under READ COMMITTED a single statement's snapshot is taken before it waits for the lock, and its
-- checks would read what stood before the other writer's commit; the statements of a volatile function take a new
-- snapshot each.
--
-- Insert only: the head of the partition is its last event, found by one probe of the index's end. No row is updated,
-- so a long snapshot (a dump, an initial copy) does not make it slower.
--
-- Checks: the commands that fail, and those that were decided on top of them, are found by statements over the whole
-- batch; the events of all others are inserted by one more (in a subtransaction, see Trust). Commands whose claims,
-- marks or guards depend on each other's are never in one batch: the caller sees to that.
--
-- Deadlocks: a batch with claims takes one advisory lock of the whole log when there are several partitions, always
-- after its partition's, so that two batches never wait for each other's claims.
--
-- Epochs: in_epoch is the one that the caller knows, and by whose history its commands were decided. If the log is in
-- another one, or this server was promoted since (so that the end of the history may be lost), nothing is appended:
-- SQLSTATE HW001. A receipt therefore never carries an epoch that its position is not of. HW002: the migration was
-- finished meanwhile (in_finished is what the caller knows).
--
-- Boundaries: what a command was decided on may be a query instead of one stream (in_items; NULL if no command of the
-- batch has one, as in_tags if no event has a tag). That nothing was added to its result is checked as versions are.
-- Events of commands before it in the batch are not in the table yet: that it was decided on those, the caller sees to,
-- and its chain tells.
--
-- Trust: with in_trust the insert itself is the check of keys and versions, by the unique indexes of both; only if one
-- of them objects, or a command fails for another reason, everything is looked at first, as without. It takes a batch
-- of which every command has events, and suits an appender that meets few conflicts: each one costs an insert in vain.
--
-- in_digests: the digests of the events' contents, 32 bytes each. in_rare: some command has claims, marks or guards, or
-- is to leave a receipt without an event.
--
-- Answers one failure_3 of command 0, which is none: its position is the one before the first event, recorded the time
-- of recording in microseconds since 1970. After it one for each command that failed. All others passed.
DROP FUNCTION IF EXISTS headwater_log.append_3( -- as it was before it could trust
    integer, integer, boolean, headwater_log.command_3[], headwater_log.event_3[], bytea, headwater_log.fact_3[],
    headwater_log.tag_3[], headwater_log.item_3[], boolean);
CREATE OR REPLACE FUNCTION headwater_log.append_3(
    in_partition integer, in_epoch integer, in_finished boolean,
    in_commands headwater_log.command_3[], in_events headwater_log.event_3[], in_digests bytea,
    in_facts headwater_log.fact_3[], in_tags headwater_log.tag_3[], in_items headwater_log.item_3[],
    in_rare boolean, in_trust boolean
) RETURNS headwater_log.failure_3[] LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = headwater_log, pg_temp
AS $append$
DECLARE
    v_epoch        integer;
    v_timeline     text;
    v_partitions   integer;
    v_finished     boolean;
    v_old_receipts boolean;
    v_first        bigint;
    v_digest       bytea;
    v_end          bytea;
    v_now          timestamptz;
    v_recorded     bigint;
    v_failures     failure_3[];
    v_failed       integer[];
    v_events       integer := cardinality(in_events);
    v_trust        boolean := in_trust AND in_finished;
BEGIN
    -- As an expression, which costs less than a statement; a void result is never NULL.
    IF pg_advisory_xact_lock(723742106, in_partition) IS NULL THEN
        RETURN NULL;
    END IF;
    IF NOT in_finished AND NOT EXISTS (SELECT FROM log l WHERE l.schema_version >= 3) THEN
        PERFORM FROM head h WHERE h.partition = in_partition FOR UPDATE;
    END IF;
    -- Under the lock, which whoever begins an epoch or finishes the migration takes as well.
    SELECT l.epoch, l.timeline, l.partitions, l.schema_version >= 3, l.has_old_receipts,
           coalesce(e.position, 0),
           coalesce(e.digest, '\x0000000000000000000000000000000000000000000000000000000000000000'),
           -- The clock is read under the lock, so recorded times never decrease along a partition.
           greatest(clock_timestamp(), e.recorded_at)
      INTO v_epoch, v_timeline, v_partitions, v_finished, v_old_receipts, v_first, v_digest, v_now
      FROM log l LEFT JOIN LATERAL (
           SELECT e.position, e.recorded_at, e.digest FROM event e
            WHERE e.partition = in_partition ORDER BY e.position DESC LIMIT 1) e ON true;
    IF v_finished <> in_finished THEN
        RAISE EXCEPTION 'the migration of the log has been finished' USING ERRCODE = 'HW002';
    END IF;
    IF v_epoch <> in_epoch OR v_timeline IS DISTINCT FROM timeline() THEN
        RAISE EXCEPTION 'the log is in another epoch than %', in_epoch USING ERRCODE = 'HW001';
    END IF;
    v_recorded := (extract(epoch FROM v_now) * 1000000)::bigint;

    -- Before keys are looked up: another partition may be taking a claim by a command with the same key, and whoever is
    -- behind it has to find its receipt, and not only its claim.
    IF in_rare AND v_partitions > 1 AND 't' = ANY (array(SELECT f.kind FROM unnest(in_facts) f)) THEN
        PERFORM pg_advisory_xact_lock(7237421060);
    END IF;
    v_trust := v_trust AND NOT EXISTS (
        SELECT FROM unnest(in_commands) c JOIN eventless_receipt r ON r.key = c.key);
    LOOP
        v_failures := '{}';
        IF NOT v_trust THEN
            -- The commands that come too late: the key is known, or the stream has moved on. Of a stream the first is
            -- compared.
            v_failures := array(
                SELECT ROW(c.n, CASE WHEN k.position IS NULL AND r.position IS NULL THEN 1
                                     WHEN coalesce(k.key_payload, r.payload) = c.payload THEN 2 ELSE 3 END,
                           coalesce(k.version, r.version, s.version), coalesce(k.position, r.position),
                           (extract(epoch FROM coalesce(k.recorded_at, r.recorded_at)) * 1000000)::bigint,
                           coalesce(k.stream, r.stream), coalesce(k.partition, r.partition), NULL)::failure_3
                  FROM unnest(in_commands) WITH ORDINALITY c(
                           stream, command_id, expected, events, chain, key, old_key, payload, store, n)
                  LEFT JOIN event k ON k.key = c.key
                  LEFT JOIN eventless_receipt r ON r.key = c.key
                  LEFT JOIN LATERAL (
                       SELECT coalesce((SELECT e.version FROM event e WHERE e.stream = c.stream
                                         ORDER BY e.version DESC LIMIT 1), 0) AS version
                        WHERE c.chain > 0) s ON s.version <> c.expected
                 WHERE k.position IS NOT NULL OR r.position IS NOT NULL OR s.version IS NOT NULL);
        END IF;
        IF in_rare OR v_old_receipts THEN
            v_failures := v_failures || rare_failures(in_partition, v_old_receipts, in_commands, in_facts);
        END IF;
        IF in_items IS NOT NULL THEN
            v_failures := v_failures || boundary_failures(in_partition, in_commands, in_items);
        END IF;
        IF cardinality(v_failures) > 0 AND v_trust THEN
            v_trust := false;
            CONTINUE;
        ELSIF cardinality(v_failures) > 0 THEN
            v_failures := all_failures(in_commands, v_failures);
            v_failed := array(SELECT f.command FROM unnest(v_failures) f);
            in_digests := (
                SELECT string_agg(substring(in_digests FROM (e.n::integer - 1) * 32 + 1 FOR 32), '' ORDER BY e.n)
                  FROM (SELECT row_number() OVER () AS n, u.command FROM unnest(in_events) u) e
                 WHERE e.command <> ALL (v_failed));
            IF in_tags IS NOT NULL THEN
                in_tags := remaining_tags(in_tags, in_events, v_failed);
            END IF;
            in_events := array(SELECT e FROM unnest(in_events) e WHERE e.command <> ALL (v_failed));
            v_events := cardinality(in_events);
        END IF;

        v_end := v_digest;
        EXIT WHEN v_events = 0;
        v_end := sha256(v_digest || int8send(v_recorded) || in_digests);
        BEGIN
            INSERT INTO event (position, version, recorded_at, stream, command_id, partition, schema_version, type,
                               payload, caller, traceparent, digest, epoch, subject, key, key_payload)
            SELECT v_first + e.n, e.version, v_now, e.stream, e.command_id, in_partition, e.schema_version, e.type,
                   e.payload, e.caller, e.traceparent, CASE WHEN e.n = v_events THEN v_end END, in_epoch, e.subject,
                   e.key, e.key_payload
              FROM unnest(in_events) WITH ORDINALITY e(
                       command, stream, version, type, schema_version, payload, command_id, caller, traceparent,
                       subject, key, key_payload, n);
            EXIT;
        EXCEPTION WHEN unique_violation THEN
            -- Without trust: a key that another partition's append has taken meanwhile.
            IF NOT v_trust THEN
                RAISE;
            END IF;
            v_trust := false;
        END;
    END LOOP;
    IF in_tags IS NOT NULL THEN
        INSERT INTO tag (partition, tag, position, type)
        SELECT in_partition, t.tag, v_first + t.event, t.type FROM unnest(in_tags) t ON CONFLICT DO NOTHING;
    END IF;
    IF in_rare THEN
        PERFORM rare_changes(in_partition, in_commands, in_facts, v_failed, v_first, v_now);
    END IF;
    IF NOT in_finished THEN
        PERFORM as_edition_2(in_partition, in_commands, v_failed, v_first, v_events, v_end, v_now);
    END IF;
    RETURN ROW(0, 0, NULL, v_first, v_recorded, NULL, in_partition, NULL)::failure_3 || v_failures;
END
$append$;
