-- A batch: the checkpoint's compare-and-set, the rows of every view and the parked events, in one statement and so in
-- one transaction and one round trip.
--
-- Invariant: nothing is written unless the checkpoint still stands where the batch started, since everything else
-- selects FROM moved. That makes it safe to have loaded the rows outside of this transaction: they can only have
-- changed together with the checkpoint.
-- Lock: the checkpoint's row, first of all; a second projector waits for it, then finds the positions changed.
-- Indexes: the primary keys.
WITH moved AS (
    UPDATE headwater_read.checkpoint
       SET positions = $5::bigint[], digests = $6::bytea[], as_of = greatest(as_of, $7::timestamptz)
     WHERE projection = $1::text AND positions = $2::bigint[] AND digests = $3::bytea[] AND revision = $4::bigint
    RETURNING projection, headwater_read.applied(positions) AS applied, revision
),
parked AS (
    INSERT INTO headwater_read.parked
           (projection, view, row_key, error, partition, position, stream, version, recorded_at, type_name, folded)
    SELECT moved.projection, p.view, p.row_key, p.error, p.partition, p.position, p.stream, p.version, p.recorded_at,
           p.type_name, ($17::bigint[])[(p.n - 1) * c.width + 1 : p.n * c.width]
      FROM moved, (SELECT cardinality($5::bigint[]) AS width) c,
           unnest($8::text[], $9::text[], $10::text[], $11::integer[], $12::bigint[], $13::uuid[], $14::bigint[],
                  $15::timestamptz[], $16::text[])
           WITH ORDINALITY AS p (view, row_key, error, partition, position, stream, version, recorded_at, type_name, n)
     ORDER BY p.n
)/* views */
SELECT count(*) FROM moved
