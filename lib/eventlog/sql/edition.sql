-- The newest edition that the log has been migrated to, whatever it is (info.sql says why it is asked in this way).
SELECT coalesce((to_jsonb(l) ->> 'edition')::integer, schema_version) FROM headwater_log.log l
