-- Least rights, granted anew by every migration. No role can update or delete an event, or touch the head: appends
-- go through the functions, which run as the owner.
-- Roles belong to the whole server: another database's migration may be making them at this moment.
DO $roles$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['headwater_command', 'headwater_feed', 'headwater_end'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$roles$;
REVOKE ALL ON ALL TABLES IN SCHEMA headwater_log FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA headwater_log FROM PUBLIC;
GRANT USAGE ON SCHEMA headwater_log TO headwater_command, headwater_feed, headwater_end;
GRANT SELECT ON ALL TABLES IN SCHEMA headwater_log TO headwater_command;
GRANT SELECT ON headwater_log.log, headwater_log.head, headwater_log.epoch_start, headwater_log.event
   TO headwater_feed;
-- How far the log goes, and nothing of what is in it.
GRANT SELECT ON headwater_log.log, headwater_log.head, headwater_log.epoch_start TO headwater_end;
GRANT EXECUTE ON FUNCTION headwater_log.timeline TO headwater_command, headwater_feed, headwater_end;
GRANT INSERT, UPDATE ON headwater_log.stream_snapshot TO headwater_command;
GRANT EXECUTE ON FUNCTION headwater_log.append_3, headwater_log.follow_epoch, headwater_log.forget_receipts_3
   TO headwater_command;
-- What programs of edition 2 call, as long as they may be there.
DO $edition_2$
BEGIN
    IF EXISTS (SELECT FROM pg_proc WHERE proname = 'append' AND pronamespace = 'headwater_log'::regnamespace) THEN
        GRANT INSERT, UPDATE ON headwater_log.snapshot TO headwater_command;
        GRANT EXECUTE ON FUNCTION headwater_log.append, headwater_log.forget_receipts TO headwater_command;
    END IF;
END
$edition_2$;
