-- headwater_log.append: one batch of commands of one partition, in one call and one transaction.
--
-- Lock: the partition's head row, from the first statement to the commit. Whoever holds it is the only one to append
-- to the partition, so every check below is free of races with other appends of it, and commit order is position
-- order. It must be a VOLATILE plpgsql function and not one SQL statement: under READ COMMITTED a single statement's
-- snapshot is taken before it waits for the lock, and its checks would read what stood before the other writer's
-- commit; the statements of a volatile function take a new snapshot each.
--
-- Two ways through it. If every command passes (checked by a few set-based statements, the usual case), all events are
-- inserted by one statement. Otherwise the commands are gone through one by one, each seeing what the ones before it
-- wrote, and those that fail drop out alone.
--
-- Deadlocks: a batch with claims takes one advisory lock of the whole log when there are several partitions, always
-- after its head row, so that two batches never wait for each other's claims.
--
-- Epochs: in_epoch is the one that the caller knows, and by whose history its commands were decided. If the log is in
-- another one, or this server was promoted since (so that the end of the history may be lost), nothing is appended:
-- SQLSTATE HW001. A receipt therefore never carries an epoch that its position is not of.
--
-- Events come in the order of their commands. For command i: streams[i], expected[i] is the version its first event
-- follows, counts[i] the number of its events (0: only check), keys[i] its idempotency key or NULL, stores[i] whether
-- to store the key. Facts: kind t (take claim), f (free claim), s (set mark), c (clear mark), p (guard: mark present),
-- a (guard: mark absent). sequential is true if facts of the batch depend on each other.
--
-- Answers first (position of the first event minus 1), recorded (microseconds since 1970) and, unless all commands
-- passed, one outcome each: 0 passed, 1 version conflict (versions[i] is the current one), 2 key known (its receipt is
-- in the arrays), 3 key known with another payload, 4 claim or guard number facts[i] failed; positions[i] is the
-- position of the last event of a command that passed.
CREATE OR REPLACE FUNCTION headwater_log.append(
    in_partition smallint, in_epoch integer,
    streams uuid[], expected bigint[], counts integer[], keys uuid[], payloads uuid[], stores boolean[],
    bases_stream uuid[], bases_version bigint[],
    e_stream uuid[], e_version bigint[], e_type text[], e_schema smallint[], e_payload bytea[],
    e_command_id uuid[], e_caller text[], e_trace text[], e_digests bytea,
    f_command integer[], f_kind text[], f_name text[], sequential boolean,
    OUT first bigint, OUT recorded bigint, OUT outcomes smallint[], OUT versions bigint[], OUT positions bigint[],
    OUT receipt_streams uuid[], OUT receipt_partitions smallint[], OUT receipt_recorded bigint[], OUT facts integer[]
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = headwater_log, pg_temp
-- The plans inside are cached by the session, maybe while the tables are still empty: keep them on the indexes.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $append$
DECLARE
    v_now     timestamptz;
    v_last    timestamptz;
    v_digest  bytea;
    v_total   integer := coalesce(array_length(e_stream, 1), 0);
    v_clean   boolean := NOT sequential;
    v_current bigint;
    v_failed  integer;
    v_offset  integer := 0;
    v_pos     bigint;
    v_chain   bytea := '';
    v_receipt receipt%ROWTYPE;
    v_dropped uuid[] := '{}';
    v_n       integer := coalesce(array_length(streams, 1), 0);
    v_log     log%ROWTYPE;
BEGIN
    SELECT h.position, h.digest, h.recorded_at INTO STRICT first, v_digest, v_last
      FROM head h WHERE h.partition = in_partition FOR UPDATE;
    -- Under the lock, which whoever begins an epoch takes as well.
    SELECT * INTO STRICT v_log FROM log;
    IF v_log.epoch <> in_epoch OR v_log.timeline IS DISTINCT FROM timeline() THEN
        RAISE EXCEPTION 'the log is in another epoch than %', in_epoch USING ERRCODE = 'HW001';
    END IF;
    -- The clock is read under the lock, so recorded times never decrease along a partition.
    v_now := greatest(clock_timestamp(), v_last);
    recorded := (extract(epoch FROM v_now) * 1000000)::bigint;

    IF v_log.partitions > 1 AND EXISTS (SELECT FROM unnest(f_kind) k WHERE k IN ('t', 'f')) THEN
        PERFORM pg_advisory_xact_lock(7237421060);
    END IF;

    IF v_clean THEN
        v_clean := NOT EXISTS (
            SELECT FROM unnest(bases_stream, bases_version) b(stream, version)
             WHERE b.version IS DISTINCT FROM coalesce(
                (SELECT e.version FROM event e WHERE e.stream = b.stream ORDER BY e.version DESC LIMIT 1), 0));
    END IF;
    IF v_clean THEN
        v_clean := NOT EXISTS (
            SELECT FROM unnest(keys) k(key) WHERE EXISTS (SELECT FROM receipt r WHERE r.key = k.key));
    END IF;
    IF v_clean AND f_command <> '{}' THEN
        v_clean := NOT EXISTS (
            SELECT FROM unnest(f_kind, f_name) f(kind, name) WHERE CASE f.kind
                WHEN 't' THEN EXISTS (SELECT FROM claim c WHERE c.value = f.name)
                WHEN 'p' THEN NOT EXISTS (SELECT FROM mark m WHERE m.partition = in_partition AND m.name = f.name)
                WHEN 'a' THEN EXISTS (SELECT FROM mark m WHERE m.partition = in_partition AND m.name = f.name)
                ELSE false END);
    END IF;

    IF v_clean THEN
        IF v_total > 0 THEN
            v_digest := sha256(v_digest || int8send(recorded) || e_digests);
            INSERT INTO event (position, version, recorded_at, stream, command_id, partition, schema_version, type,
                               payload, caller, traceparent, digest)
            SELECT first + e.n, e.version, v_now, e.stream, e.command_id, in_partition, e.schema_version, e.type,
                   e.payload, e.caller, e.trace, CASE WHEN e.n = v_total THEN v_digest END
              FROM unnest(e_stream, e_version, e_type, e_schema, e_payload, e_command_id, e_caller, e_trace)
                   WITH ORDINALITY e(stream, version, type, schema_version, payload, command_id, caller, trace, n);
            UPDATE head h SET position = first + v_total, digest = v_digest, recorded_at = v_now
             WHERE h.partition = in_partition;
        END IF;
        IF true = ANY (stores) THEN
            INSERT INTO receipt (key, payload, stream, version, position, recorded_at, partition)
            SELECT c.key, c.payload, c.stream, c.expected + c.count, first + c.upto, v_now, in_partition
              FROM (SELECT u.*, sum(u.count) OVER (ORDER BY u.n) AS upto
                      FROM unnest(keys, payloads, streams, expected, counts, stores)
                           WITH ORDINALITY u(key, payload, stream, expected, count, store, n)) c
             WHERE c.store ORDER BY c.key;
        END IF;
        IF f_command <> '{}' THEN
            PERFORM apply_facts(in_partition, streams, f_command, f_kind, f_name);
        END IF;
        RETURN;
    END IF;

    v_pos := first;
    outcomes := array_fill(0::smallint, ARRAY[v_n]);
    versions := array_fill(0::bigint, ARRAY[v_n]);
    positions := array_fill(0::bigint, ARRAY[v_n]);
    receipt_streams := array_fill(NULL::uuid, ARRAY[v_n]);
    receipt_partitions := array_fill(NULL::smallint, ARRAY[v_n]);
    receipt_recorded := array_fill(NULL::bigint, ARRAY[v_n]);
    facts := array_fill(NULL::integer, ARRAY[v_n]);
    FOR i IN 1..v_n LOOP
        IF keys[i] IS NOT NULL THEN
            SELECT * INTO v_receipt FROM receipt r WHERE r.key = keys[i];
            IF FOUND THEN
                outcomes[i] := CASE WHEN v_receipt.payload = payloads[i] THEN 2 ELSE 3 END;
                versions[i] := v_receipt.version;
                positions[i] := v_receipt.position;
                receipt_streams[i] := v_receipt.stream;
                receipt_partitions[i] := v_receipt.partition;
                receipt_recorded[i] := (extract(epoch FROM v_receipt.recorded_at) * 1000000)::bigint;
                v_offset := v_offset + counts[i];
                IF counts[i] > 0 THEN
                    v_dropped := v_dropped || streams[i];
                END IF;
                CONTINUE;
            END IF;
        END IF;
        v_current := coalesce((SELECT e.version FROM event e WHERE e.stream = streams[i]
                                ORDER BY e.version DESC LIMIT 1), 0);
        versions[i] := v_current;
        -- Whatever was decided on top of a command that dropped out is in conflict, also if the version happens to be
        -- the expected one: another process's events may have taken the place of those that were not appended.
        IF v_current <> expected[i] OR streams[i] = ANY (v_dropped) THEN
            outcomes[i] := 1;
            v_offset := v_offset + counts[i];
            v_dropped := v_dropped || streams[i];
            CONTINUE;
        END IF;
        SELECT f.n INTO v_failed
          FROM unnest(f_command, f_kind, f_name) WITH ORDINALITY f(command, kind, name, n)
         WHERE f.command = i AND CASE f.kind
                WHEN 't' THEN EXISTS (SELECT FROM claim c WHERE c.value = f.name AND c.stream <> streams[i])
                WHEN 'p' THEN NOT EXISTS (SELECT FROM mark m WHERE m.partition = in_partition AND m.name = f.name)
                WHEN 'a' THEN EXISTS (SELECT FROM mark m WHERE m.partition = in_partition AND m.name = f.name)
                ELSE false END
         ORDER BY f.n LIMIT 1;
        IF FOUND THEN
            outcomes[i] := 4;
            facts[i] := v_failed;
            v_offset := v_offset + counts[i];
            v_dropped := v_dropped || streams[i];
            CONTINUE;
        END IF;
        IF counts[i] > 0 THEN
            INSERT INTO event (position, version, recorded_at, stream, command_id, partition, schema_version, type,
                               payload, caller, traceparent)
            SELECT v_pos + k, e_version[v_offset + k], v_now, e_stream[v_offset + k], e_command_id[v_offset + k],
                   in_partition, e_schema[v_offset + k], e_type[v_offset + k], e_payload[v_offset + k],
                   e_caller[v_offset + k], e_trace[v_offset + k]
              FROM generate_series(1, counts[i]) k;
            v_pos := v_pos + counts[i];
            v_chain := v_chain || substring(e_digests FROM v_offset * 32 + 1 FOR counts[i] * 32);
        END IF;
        PERFORM apply_facts(in_partition, streams, array_fill(i, ARRAY[count(*)::integer]),
                            array_agg(f.kind ORDER BY f.n), array_agg(f.name ORDER BY f.n))
           FROM unnest(f_command, f_kind, f_name) WITH ORDINALITY f(command, kind, name, n)
          WHERE f.command = i HAVING count(*) > 0;
        positions[i] := v_pos;
        IF stores[i] THEN
            INSERT INTO receipt (key, payload, stream, version, position, recorded_at, partition)
            VALUES (keys[i], payloads[i], streams[i], expected[i] + counts[i], v_pos, v_now, in_partition);
        END IF;
        versions[i] := expected[i] + counts[i];
        v_offset := v_offset + counts[i];
    END LOOP;
    IF v_pos > first THEN
        v_digest := sha256(v_digest || int8send(recorded) || v_chain);
        -- The one update an event ever sees, in the transaction that inserts it: which event is the batch's last is
        -- known only now.
        UPDATE event e SET digest = v_digest WHERE e.partition = in_partition AND e.position = v_pos;
        UPDATE head h SET position = v_pos, digest = v_digest, recorded_at = v_now WHERE h.partition = in_partition;
    END IF;
END
$append$;

-- Changes claims and marks as commands that have passed their checks say. Order within the arrays matters only where
-- the caller is sequential; claims are taken in the order of their values.
CREATE OR REPLACE FUNCTION headwater_log.apply_facts(
    in_partition smallint, streams uuid[], f_command integer[], f_kind text[], f_name text[]
) RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = headwater_log, pg_temp
AS $facts$
BEGIN
    IF 'f' = ANY (f_kind) THEN
        DELETE FROM claim c USING unnest(f_command, f_kind, f_name) f(command, kind, name)
         WHERE f.kind = 'f' AND c.value = f.name AND c.stream = streams[f.command];
    END IF;
    IF 't' = ANY (f_kind) THEN
        INSERT INTO claim (value, stream)
        SELECT f.name, streams[f.command] FROM unnest(f_command, f_kind, f_name) f(command, kind, name)
         WHERE f.kind = 't' AND NOT EXISTS (SELECT FROM claim c WHERE c.value = f.name) ORDER BY f.name;
    END IF;
    IF 'c' = ANY (f_kind) THEN
        DELETE FROM mark m USING unnest(f_command, f_kind, f_name) f(command, kind, name)
         WHERE f.kind = 'c' AND m.partition = in_partition AND m.name = f.name AND m.stream = streams[f.command];
    END IF;
    IF 's' = ANY (f_kind) THEN
        INSERT INTO mark (partition, name, stream)
        SELECT in_partition, f.name, streams[f.command] FROM unnest(f_command, f_kind, f_name) f(command, kind, name)
         WHERE f.kind = 's' ON CONFLICT DO NOTHING;
    END IF;
END
$facts$;

-- Deletes receipts older than in_age, at most in_limit of them; answers how many. Index: receipt_age (BRIN).
CREATE OR REPLACE FUNCTION headwater_log.forget_receipts(in_age interval, in_limit integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = headwater_log, pg_temp
AS $forget$
    WITH gone AS (
        DELETE FROM receipt WHERE key IN (
            SELECT key FROM receipt WHERE recorded_at < now() - in_age LIMIT in_limit)
        RETURNING 1)
    SELECT count(*) FROM gone
$forget$;
