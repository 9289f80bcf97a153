-- How many sessions of programs of the edition before are connected: those that connect by its name ($1). No lock.
SELECT count(*) FROM pg_stat_activity a
 WHERE a.datname = current_database() AND a.application_name = $1 AND a.pid <> pg_backend_pid()
