-- The part of the read database that does not depend on the views. Runs at every migration, under the migration's lock;
-- does nothing where all is there.

CREATE SCHEMA IF NOT EXISTS headwater_read;

-- The roles are of the whole server: a migration of another database may be creating them at the same moment.
DO $roles$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['headwater_query', 'headwater_projector'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$roles$;

-- Version of everything in this file. Servers compare it with their own and never migrate.
CREATE TABLE IF NOT EXISTS headwater_read.schema_version (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL
);

-- The tables of the views: one row a version of a view; queries read the live one, by a plain view of the view's name.
CREATE TABLE IF NOT EXISTS headwater_read.view_version (
    projection text NOT NULL,
    view       text NOT NULL,
    version    integer NOT NULL,
    live       boolean NOT NULL,
    -- The columns as they were created, so that a change without a new version is noticed.
    definition text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (view, version)
);
CREATE UNIQUE INDEX IF NOT EXISTS view_version_live ON headwater_read.view_version (view) WHERE live;

-- What each projection has applied: written in the transaction of its rows, read in the statement of every query. One
-- row a projection, updated for every batch and heartbeat: the low fillfactor keeps those updates on the page (HOT).
CREATE TABLE IF NOT EXISTS headwater_read.checkpoint (
    projection text PRIMARY KEY,
    log_id     uuid NOT NULL,
    epoch      integer NOT NULL,
    -- By partition, from 0.
    positions  bigint[] NOT NULL,
    digests    bytea[] NOT NULL,
    -- The write database's time up to which everything recorded has been applied.
    as_of      timestamptz NOT NULL,
    -- Raised by whoever changes rows by another way than the projector, which then starts anew. What the rows show is
    -- ordered by the applied events and, at equal ones, by this.
    revision   bigint NOT NULL DEFAULT 0,
    -- The changes of all commits after these positions, and at them after this revision, are there.
    watched_from bigint[] NOT NULL,
    watched_revision bigint NOT NULL DEFAULT 0,
    CHECK (cardinality(positions) = cardinality(digests))
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000);

-- Databases of version 1. From the moment at which changes are kept: whoever resumes a watch from before has to read
-- anew. A projector of that version finds its checkpoint moved, and ends. Locks nothing where the column is there.
DO $changes$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute
                    WHERE attrelid = 'headwater_read.checkpoint'::regclass AND attname = 'watched_from') THEN
        ALTER TABLE headwater_read.checkpoint ADD COLUMN watched_from bigint[];
        UPDATE headwater_read.checkpoint SET watched_from = positions, revision = revision + 1;
        ALTER TABLE headwater_read.checkpoint ALTER COLUMN watched_from SET NOT NULL;
    END IF;
END
$changes$;

-- Which rows of the views changed, for those who watch: one row a commit or revision, and view, written with it. The
-- rows themselves are read from the views.
CREATE TABLE IF NOT EXISTS headwater_read.change (
    projection text NOT NULL,
    -- Events that the projection had applied after this commit, over all partitions: what commits are ordered by.
    applied    bigint NOT NULL,
    -- The checkpoint's revision after it: what is ordered by where the applied events are the same.
    revision   bigint NOT NULL DEFAULT 0,
    view       text NOT NULL,
    -- True if rows changed at positions that were there before: a reader of these positions may not have seen it.
    revised    boolean NOT NULL DEFAULT false,
    -- The checkpoint after this commit.
    positions  bigint[] NOT NULL,
    -- The changed rows, as text.
    keys       text[] NOT NULL,
    -- By key: what the columns that lists are filtered by held before, as a JSON array; 'null' if there was no row;
    -- NULL if they did not change.
    former     text[] NOT NULL,
    PRIMARY KEY (projection, applied, revision, view)
);

-- Databases up to version 3, whose changes are all of commits. A projector of that version goes on: what it records has
-- the revision 0, and is ordered by its events. Watches of that version go on by the function that they have called,
-- which is left as it is and knows of no revision. Locks nothing where the columns are there.
DO $revision$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute
                    WHERE attrelid = 'headwater_read.checkpoint'::regclass AND attname = 'watched_revision') THEN
        ALTER TABLE headwater_read.checkpoint ADD COLUMN watched_revision bigint NOT NULL DEFAULT 0;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute
                    WHERE attrelid = 'headwater_read.change'::regclass AND attname = 'revision') THEN
        ALTER TABLE headwater_read.change
            ADD COLUMN revision bigint NOT NULL DEFAULT 0,
            ADD COLUMN revised boolean NOT NULL DEFAULT false,
            DROP CONSTRAINT change_pkey,
            ADD PRIMARY KEY (projection, applied, revision, view);
    END IF;
END
$revision$;

-- Events that come before or at these positions.
CREATE OR REPLACE FUNCTION headwater_read.applied(positions bigint[]) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $applied$ SELECT coalesce(sum(p), 0)::bigint FROM unnest(positions) p $applied$;

-- Whether all that is at these positions is at or before those of a token.
CREATE OR REPLACE FUNCTION headwater_read.is_within(positions bigint[], token bigint[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $within$
    SELECT coalesce(bool_and(p <= coalesce(t, 0)), true) FROM unnest(positions, token) u(p, t) WHERE p IS NOT NULL
$within$;

-- The rows of a view that changed after a place in the changes (a commit or revision, and a key in it), at most so
-- many: each row once, at its last change, with all that its filter columns held before. Ordered by that last change,
-- so that a reader who stops anywhere goes on from there: a row that it has not seen yet comes later. Keys in the order
-- of their bytes. Index: change's primary key.
CREATE OR REPLACE FUNCTION headwater_read.changed(
    in_projection text, in_view text, in_applied bigint, in_revision bigint, in_key text, in_limit integer
) RETURNS TABLE (key text, applied bigint, revision bigint, former text[])
LANGUAGE sql STABLE
AS $changed$
    SELECT l.key, l.latest[1], l.latest[2], l.former
      FROM (SELECT u.key, max(ARRAY[c.applied, c.revision]) AS latest,
                   array_agg(DISTINCT u.former) FILTER (WHERE u.former IS NOT NULL) AS former
              FROM headwater_read.change c, unnest(c.keys, c.former) u(key, former)
             WHERE c.projection = in_projection AND c.view = in_view
               AND (c.applied, c.revision) >= (in_applied, in_revision)
             GROUP BY u.key) l
     WHERE (l.latest, l.key COLLATE "C") > (ARRAY[in_applied, in_revision], in_key COLLATE "C")
     ORDER BY l.latest, l.key COLLATE "C"
     LIMIT in_limit
$changed$;

-- For whoever changes rows of a view at positions that are there already (retries or drops a parked event, repairs a
-- row, puts a rebuilt view in the place of another): raises the revision and records the rows for those who watch, in
-- the transaction that changes them. Gives the new revision; NULL if the projection has no checkpoint.
--
-- In that transaction: first lock the checkpoint's row (SELECT ... FOR UPDATE), which keeps the projector from
-- committing; then read and write the view's rows; then call this, once for each view that changed, and commit.
-- in_keys: the changed rows, as text. in_former: of each, what `change.former` says.
--
-- Lock: the checkpoint's row. Index: the primary keys. Invariant: a projector under way finds the revision raised,
-- commits nothing on top of rows that it has read before, and starts anew.
CREATE OR REPLACE FUNCTION headwater_read.revise(
    in_projection text, in_view text, in_keys text[], in_former text[]
) RETURNS bigint
LANGUAGE sql VOLATILE
AS $revise$
    WITH raised AS (
        UPDATE headwater_read.checkpoint SET revision = revision + 1
         WHERE projection = in_projection
        RETURNING projection, positions, revision
    ),
    recorded AS (
        INSERT INTO headwater_read.change (projection, applied, revision, view, revised, positions, keys, former)
        SELECT r.projection, headwater_read.applied(r.positions), r.revision, in_view, true, r.positions, in_keys,
               in_former
          FROM raised r WHERE cardinality(in_keys) > 0
    )
    SELECT revision FROM raised
$revise$;

-- The epochs that a projection's log went through, written in the transaction that takes the checkpoint to the last of
-- them: where each began, by partition, from 0. A token of an earlier epoch counts up to where the later ones began.
CREATE TABLE IF NOT EXISTS headwater_read.epoch_start (
    projection text NOT NULL,
    epoch      integer NOT NULL,
    positions  bigint[] NOT NULL,
    PRIMARY KEY (projection, epoch)
);

-- Events that could not be applied to a row: one a row (or stream), which waits behind it. What follows on the row is
-- in the log and nowhere else: a retry reads it from there.
CREATE TABLE IF NOT EXISTS headwater_read.parked (
    number         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    projection     text NOT NULL,
    -- Empty if the event is not applied to any row; the key is the stream's id then.
    view           text NOT NULL,
    row_key        text NOT NULL,
    error          text NOT NULL,
    partition      integer NOT NULL,
    position       bigint NOT NULL,
    stream         uuid NOT NULL,
    version        bigint NOT NULL,
    recorded_at    timestamptz NOT NULL,
    type_name      text NOT NULL,
    parked_at      timestamptz NOT NULL DEFAULT now(),
    -- The row is the fold of the log up to these positions. NULL (databases of version 3): not known, so the row has
    -- to be folded from the log's beginning.
    folded         bigint[],
    UNIQUE (projection, partition, position, view, row_key)
);
-- Databases up to version 3 have every event that waits, and of each all that is in the log. A projector of that
-- version goes on like that.
DO $folded$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute
                    WHERE attrelid = 'headwater_read.parked'::regclass AND attname = 'folded') THEN
        ALTER TABLE headwater_read.parked
            ADD COLUMN folded bigint[],
            ALTER COLUMN schema_version DROP NOT NULL,
            ALTER COLUMN payload DROP NOT NULL,
            ALTER COLUMN command_id DROP NOT NULL;
    END IF;
END
$folded$;
CREATE INDEX IF NOT EXISTS parked_row ON headwater_read.parked (projection, view, row_key);

-- Parked events that an operator has dropped: who left which event out of which row. A retry leaves it out too, as long
-- as the views have not been emptied since.
CREATE TABLE IF NOT EXISTS headwater_read.dropped (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    projection text NOT NULL,
    view       text NOT NULL,
    row_key    text NOT NULL,
    partition  integer NOT NULL,
    position   bigint NOT NULL,
    stream     uuid NOT NULL,
    type_name  text NOT NULL,
    error      text NOT NULL,
    dropped_by text NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT now(),
    in_force   boolean NOT NULL DEFAULT true
);
CREATE INDEX IF NOT EXISTS dropped_row ON headwater_read.dropped (projection, view, row_key);

-- Least rights, granted anew by every migration; those on the views' tables are granted beside their creation.
REVOKE ALL ON ALL TABLES IN SCHEMA headwater_read FROM PUBLIC;
GRANT USAGE ON SCHEMA headwater_read TO headwater_query, headwater_projector;
GRANT SELECT ON headwater_read.schema_version, headwater_read.view_version, headwater_read.checkpoint,
                headwater_read.change, headwater_read.epoch_start
   TO headwater_query, headwater_projector;
GRANT INSERT, UPDATE ON headwater_read.checkpoint TO headwater_projector;
GRANT INSERT, DELETE ON headwater_read.change TO headwater_projector;
GRANT INSERT, UPDATE, DELETE ON headwater_read.epoch_start TO headwater_projector;
GRANT SELECT, INSERT ON headwater_read.parked TO headwater_projector;
-- Enough to count them and to see which rows wait, not why.
GRANT SELECT (projection, view, row_key) ON headwater_read.parked TO headwater_query;
