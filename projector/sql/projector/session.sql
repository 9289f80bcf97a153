-- Every statement goes by an index on a few thousand keys. Plans are made once, maybe while the tables are empty or
-- before statistics are there, so they are kept on the indexes; planning anew for every batch would cost more.
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET jit = off;
-- A commit waits for this server's disk and for no standby: what a failover loses here is applied again from the log.
SET synchronous_commit = local;
-- Sooner than the program gives up on the connection, so that it is the server that says so.
SET statement_timeout = '20s';
SET lock_timeout = '10s';
-- The advisory lock of a projector whose machine vanished is free within about 10 seconds.
SET tcp_keepalives_idle = 4;
SET tcp_keepalives_interval = 2;
SET tcp_keepalives_count = 3;
