-- How many sessions may append: those of the command role's members, superusers aside. No lock.
SELECT count(*) FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND NOT r.rolsuper
   AND pg_has_role(r.oid, 'headwater_command', 'MEMBER')
