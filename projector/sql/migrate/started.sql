-- Whether a projection has applied any event. Index: checkpoint's primary key.
SELECT EXISTS (
    SELECT FROM headwater_read.checkpoint WHERE projection = $1 AND 0 < ANY (positions))
