-- Ends a server process of the same role, if it still runs; true once it is gone. The call's result is used: Postgres
-- throws away what an EXISTS would select, and would not call it.
-- One that waits for its standby is waited for: ended, it would leave a transaction that can be seen, be projected, and
-- be lost in a failover. Meanwhile nobody sees it.
SELECT coalesce(bool_and(CASE WHEN a.wait_event = 'SyncRep' THEN false ELSE NOT pg_terminate_backend(a.pid) END), true)
  FROM pg_stat_activity a WHERE a.pid = $1 AND a.backend_start = $2
