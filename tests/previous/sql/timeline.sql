-- The timeline on which this server takes writes; NULL if it follows another one. A promotion starts a timeline with a
-- higher number, at once, while what pg_control says of it may be late. No lock.
SELECT CASE WHEN NOT pg_is_in_recovery()
            THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END
