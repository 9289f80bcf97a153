-- The log, version 2: how each epoch began. Run by the migration alone, in one transaction, as the owner.

-- The timeline of the server on which the current epoch began: a promotion starts another one, and so a new epoch.
ALTER TABLE headwater_log.log ADD COLUMN timeline text;
UPDATE headwater_log.log SET timeline = left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), schema_version = 2;
ALTER TABLE headwater_log.log ALTER COLUMN timeline SET NOT NULL;

-- The epochs that this history went through. positions are where the partitions ended when it began, from partition 0:
-- up to there, and no further, it has the history of the epoch before. Never updated, never deleted.
CREATE TABLE headwater_log.epoch_start (
    epoch      integer PRIMARY KEY,
    timeline   text NOT NULL,
    positions  bigint[] NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- Of epochs before this version nothing is known: their tokens stay refused.
INSERT INTO headwater_log.epoch_start (epoch, timeline, positions)
SELECT l.epoch, l.timeline, array_fill(0::bigint, ARRAY[l.partitions::integer]) FROM headwater_log.log l;

-- It takes the epoch now; the migration creates it anew.
DROP FUNCTION IF EXISTS headwater_log.append(
    smallint, uuid[], bigint[], integer[], uuid[], uuid[], boolean[], uuid[], bigint[], uuid[], bigint[], text[],
    smallint[], bytea[], uuid[], text[], text[], bytea, integer[], text[], text[], boolean);
