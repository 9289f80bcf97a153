-- What tells this database from every other one, and whether it holds the log and the views. Lock: none. Index: none.
-- Invariant: the answer is the same over every way to the same database.
SELECT format('%s of the server started %s', current_database(), pg_postmaster_start_time()),
       to_regnamespace('headwater_log') IS NOT NULL,
       to_regnamespace('headwater_read') IS NOT NULL
