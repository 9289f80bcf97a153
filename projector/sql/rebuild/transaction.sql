-- The transaction in which a rebuilt projection takes the place of the live one. Lock: that of migrations. If one is
-- not to be had soon, all of it is tried again; long enough for Postgres to end an automatic vacuum.
BEGIN;
SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '20s';
SELECT pg_advisory_xact_lock(7237421062)
