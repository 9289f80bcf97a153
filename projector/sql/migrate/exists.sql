-- Whether there is a schema at all. No lock; looks into the catalogue.
SELECT to_regclass('headwater_read.schema_version') IS NOT NULL
