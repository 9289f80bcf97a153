-- Whether a slot still has the WAL that its replica needs: 'lost' means that it has not.
-- Locks: none beyond reading the slots in shared memory. No row: there is no such slot.
SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1
