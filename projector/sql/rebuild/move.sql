-- What is registered and parked goes along with the tables, from one schema to another. Lock: these rows. Index: the
-- primary keys, parked_row.
WITH views AS (
    DELETE FROM headwater_source.view_version WHERE projection = $1
    RETURNING projection, view, version, live, definition, created_at
),
registered AS (
    INSERT INTO headwater_target.view_version (projection, view, version, live, definition, created_at)
    SELECT projection, view, version, live, definition, created_at FROM views
),
waiting AS (
    DELETE FROM headwater_source.parked WHERE projection = $1
    RETURNING number, projection, view, row_key, error, partition, position, stream, version, recorded_at, type_name,
              parked_at, folded
)
INSERT INTO headwater_target.parked
       (projection, view, row_key, error, partition, position, stream, version, recorded_at, type_name, parked_at,
        folded)
SELECT projection, view, row_key, error, partition, position, stream, version, recorded_at, type_name, parked_at, folded
  FROM waiting ORDER BY number
