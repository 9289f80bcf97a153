-- Version of the fixed part of the schema. One row.
SELECT version FROM headwater_read.schema_version
