-- Returns once everything that was committed before is as durable as the server's settings ask for: a transaction that
-- writes nothing but its own commit. With synchronous replication a commit that waited for its standby when the server
-- crashed can be seen once that is up again, though a failover would lose it. Whoever waits for a later commit has
-- waited for that one too. No lock.
SELECT pg_logical_emit_message(true, 'headwater', '')
