-- Held until the migration commits: of two at once the second finds everything done.
SELECT pg_advisory_xact_lock(7237421062)
