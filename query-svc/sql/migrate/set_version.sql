-- Names the version of a schema that has just been made. Index: its primary key.
INSERT INTO headwater_read.schema_version (version) VALUES ($1) ON CONFLICT DO NOTHING
