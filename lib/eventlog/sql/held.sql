-- Adds what streams hold by their events. Each array has a place for each stream's claim, mark, or stream without any.
WITH claims AS (
    INSERT INTO held_claim (value, stream) SELECT * FROM unnest($1::text[], $2::uuid[])),
marks AS (
    INSERT INTO held_mark (partition, name, stream) SELECT * FROM unnest($3::integer[], $4::text[], $5::uuid[]))
INSERT INTO foreign_stream (stream) SELECT * FROM unnest($6::uuid[])
