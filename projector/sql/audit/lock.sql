-- Makes this session the one that has a draft, until it ends.
SELECT pg_try_advisory_lock(7237421063)
