-- Makes a login, or sets its password and options again, and makes it a member of its groups.
-- Parameters come as settings of the session (headwater.*), since DO takes none.
-- Locks: the role's row in pg_authid. The password must not reach the server's log, hence the first line.
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
DO $do$
DECLARE
    login   text := current_setting('headwater.login');
    groups  text[] := string_to_array(nullif(current_setting('headwater.groups'), ''), ',');
    a_group text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
        EXECUTE format('CREATE ROLE %I', login);
    END IF;
    EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L %s', login,
                   current_setting('headwater.password'), current_setting('headwater.options'));
    EXECUTE format('ALTER ROLE %I SET default_transaction_read_only = %s', login,
                   current_setting('headwater.read_only'));
    FOREACH a_group IN ARRAY coalesce(groups, '{}') LOOP
        EXECUTE format('GRANT %I TO %I', a_group, login);
    END LOOP;
END
$do$;
