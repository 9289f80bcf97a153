-- The number of streaming replicas that have not replayed the WAL up to $1, a text such as 0/3000060. No lock.
SELECT count(*) FROM pg_stat_replication r
 WHERE r.state = 'streaming' AND r.replay_lsn < $1::text::pg_lsn
