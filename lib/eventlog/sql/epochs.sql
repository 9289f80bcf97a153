-- Epochs: when one begins, and how. The function append_3 (append_3.sql) only refuses to append to a history that it
-- does not know.

-- The timeline on which this server writes; NULL on a standby, which writes on none. No file is read.
CREATE OR REPLACE FUNCTION headwater_log.timeline() RETURNS text LANGUAGE sql VOLATILE AS $timeline$
    SELECT CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END
$timeline$;

-- Keeps everybody from appending until the transaction ends.
--
-- Locks: every partition's, in their order, and while programs of edition 2 may append, every row of the table head. An
-- append holds one partition's and asks for no other lock that is held here, so nobody waits in a circle.
CREATE OR REPLACE FUNCTION headwater_log.stop_appends() RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = headwater_log, pg_temp
AS $stop$
DECLARE
    v_partitions integer;
    v_finished   boolean;
BEGIN
    SELECT l.partitions, l.schema_version >= 3 INTO STRICT v_partitions, v_finished FROM log l;
    FOR i IN 0..v_partitions - 1 LOOP
        PERFORM pg_advisory_xact_lock(723742106, i);
    END LOOP;
    IF NOT v_finished THEN
        PERFORM h.partition FROM head h ORDER BY h.partition FOR UPDATE;
    END IF;
END
$stop$;

-- Begins an epoch: what is in the log at this moment is kept, what anybody was told beyond that is lost.
--
-- Locks: the log's row, then all that appends take; whoever appends next finds the new epoch.
-- Invariant: another copy of this log that begins an epoch, now or at any time, gives it another number (but for one
-- chance in 200,000), or tokens of two histories could not be told apart. So the number is drawn.
CREATE OR REPLACE FUNCTION headwater_log.begin_epoch() RETURNS integer LANGUAGE plpgsql VOLATILE
SET search_path = headwater_log, pg_temp
AS $begin$
DECLARE
    v_epoch integer;
BEGIN
    SELECT l.epoch + 1 + floor(random() * 200000)::integer INTO STRICT v_epoch FROM log l FOR UPDATE;
    PERFORM stop_appends();
    INSERT INTO epoch_start (epoch, timeline, positions)
    SELECT v_epoch, timeline(), array_agg(h.position ORDER BY h.partition) FROM head h;
    UPDATE log SET epoch = v_epoch, timeline = timeline();
    RETURN v_epoch;
END
$begin$;

-- Begins an epoch if this server has been promoted since the last one began. Of two at once, one does and the other
-- finds it done: it waits for the log's row and looks at its timeline again.
-- A standby refuses, as it does everything that locks.
CREATE OR REPLACE FUNCTION headwater_log.follow_epoch() RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = headwater_log, pg_temp
AS $follow$
BEGIN
    PERFORM FROM log l WHERE l.timeline IS DISTINCT FROM timeline() FOR UPDATE;
    IF FOUND THEN
        PERFORM begin_epoch();
    END IF;
END
$follow$;
