-- Drops the physical slots whose replicas are not wanted any more; each would hold back WAL for ever.
-- Locks: each slot dropped; one that a replica still uses is left for the next start.
SELECT pg_drop_replication_slot(slot_name)
FROM pg_replication_slots
WHERE slot_type = 'physical' AND slot_name LIKE 'replica\_%' AND NOT active AND slot_name <> ALL ($1)
