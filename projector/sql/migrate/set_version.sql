-- Names the version of a schema that has just been made, or brought up to date. Index: its primary key.
INSERT INTO headwater_read.schema_version AS s (version) VALUES ($1)
ON CONFLICT (one) DO UPDATE SET version = excluded.version WHERE s.version <> excluded.version
