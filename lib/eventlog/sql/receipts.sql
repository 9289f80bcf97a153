-- Deletes receipts that are too old, at most in_limit of each kind; answers how many. A receipt that is an event stays
-- as long as the event does. Index: eventless_receipt_age, receipt_age (BRIN).
CREATE OR REPLACE FUNCTION headwater_log.forget_receipts_3(in_age interval, in_limit integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = headwater_log, pg_temp
AS $forget$
DECLARE
    v_gone bigint;
    v_old  bigint := 0;
BEGIN
    WITH gone AS (
        DELETE FROM eventless_receipt WHERE key IN (
            SELECT key FROM eventless_receipt WHERE recorded_at < now() - in_age ORDER BY recorded_at LIMIT in_limit)
        RETURNING 1)
    SELECT count(*) INTO v_gone FROM gone;
    IF (SELECT l.has_old_receipts FROM log l) THEN
        WITH gone AS (
            DELETE FROM receipt WHERE key IN (
                SELECT key FROM receipt WHERE recorded_at < now() - in_age LIMIT in_limit)
            RETURNING 1)
        SELECT count(*) INTO v_old FROM gone;
        -- The last one is gone, and programs of edition 2 are, too: nobody looks here any more.
        UPDATE log SET has_old_receipts = false
         WHERE schema_version >= 3 AND NOT EXISTS (SELECT FROM receipt);
    END IF;
    RETURN greatest(v_gone, v_old);
END
$forget$;
