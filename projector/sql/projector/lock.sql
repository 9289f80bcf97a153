-- Makes this session the one that applies the projection, until it ends. Only to keep two projectors from doing the
-- same work twice: what protects the rows is the checkpoint's compare-and-set.
SELECT pg_try_advisory_lock(hashtextextended('headwater projection ' || $1::text, 0))
