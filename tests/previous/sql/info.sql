-- Which log this is. No lock; the table has one row.
SELECT id, epoch, partitions, schema_version FROM headwater_log.log
