-- Ends a server process of the same role, if it still runs; true once it is gone.
SELECT NOT EXISTS (
    SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a WHERE a.pid = $1 AND a.backend_start = $2)
