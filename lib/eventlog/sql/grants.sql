-- Least rights, granted anew by every migration. Neither role can update or delete an event, or touch the head: appends go
-- through the function, which runs as the owner.
DO $roles$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'headwater_command') THEN
        CREATE ROLE headwater_command NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'headwater_feed') THEN
        CREATE ROLE headwater_feed NOLOGIN;
    END IF;
END
$roles$;
REVOKE ALL ON ALL TABLES IN SCHEMA headwater_log FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA headwater_log FROM PUBLIC;
GRANT USAGE ON SCHEMA headwater_log TO headwater_command, headwater_feed;
GRANT SELECT ON ALL TABLES IN SCHEMA headwater_log TO headwater_command;
GRANT SELECT ON headwater_log.log, headwater_log.head, headwater_log.event TO headwater_feed;
GRANT INSERT, UPDATE ON headwater_log.snapshot TO headwater_command;
GRANT EXECUTE ON FUNCTION headwater_log.append, headwater_log.forget_receipts TO headwater_command;
