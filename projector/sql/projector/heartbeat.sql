-- Says that everything recorded up to $5 has been applied, if the checkpoint still stands where this projector left it.
-- It never goes back. Lock: the checkpoint's row. Index: its primary key.
UPDATE headwater_read.checkpoint
   SET as_of = greatest(as_of, $5::timestamptz)
 WHERE projection = $1::text AND positions = $2::bigint[] AND digests = $3::bytea[] AND revision = $4::bigint
