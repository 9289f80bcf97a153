-- The log, edition 3, first half: what programs of edition 3 need is added, and nothing is changed or taken away that
-- programs of edition 2 use, so that both run side by side until an operator finishes the migration (finish_3.sql).
-- Run by the migration alone, in one transaction, as the owner. The events' own columns and their index were added
-- before (key_columns_3.sql, key_index_3.sql).

-- schema_version is the oldest edition whose programs may use the log, edition the newest one. While they differ the
-- partition's lock is still its row of the table head, and receipts are still kept in the table receipt.
ALTER TABLE headwater_log.log ADD COLUMN edition integer;
UPDATE headwater_log.log SET edition = 3;
ALTER TABLE headwater_log.log ALTER COLUMN edition SET NOT NULL;
-- True while receipts that programs of edition 2 wrote are kept: their keys are looked up, too.
ALTER TABLE headwater_log.log ADD COLUMN has_old_receipts boolean NOT NULL DEFAULT true;

-- The receipts of commands with an idempotency key that changed nothing, so that no event tells of them.
CREATE TABLE headwater_log.eventless_receipt (
    key         uuid PRIMARY KEY,
    payload     uuid NOT NULL,
    command_id  uuid NOT NULL,
    stream      uuid NOT NULL,
    version     bigint NOT NULL,
    position    bigint NOT NULL,
    partition   integer NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX eventless_receipt_age ON headwater_log.eventless_receipt (recorded_at);

-- States of long streams, one a format, so that programs whose states differ do not undo each other's. Trusted only
-- while the event it was made from is where it was, and is of the command that it names.
CREATE TABLE headwater_log.stream_snapshot (
    stream     uuid NOT NULL,
    format     integer NOT NULL,
    version    bigint NOT NULL,
    position   bigint NOT NULL,
    epoch      integer NOT NULL,
    command_id uuid NOT NULL,
    aggregate  text NOT NULL,
    state      bytea NOT NULL,
    PRIMARY KEY (stream, format)
);

-- The tags of events, by which queries find them; an event without tags has no row. A function of the events, so that
-- it can be made anew. Insert-only.
CREATE TABLE headwater_log.tag (
    partition integer NOT NULL,
    tag       text COLLATE "C" NOT NULL,
    position  bigint NOT NULL,
    type      text NOT NULL,
    PRIMARY KEY (partition, tag, position)
);

-- The arguments of append_3, in the order in which programs encode them.
--
-- A command: the version that it was decided on; the number of its events (0: it is only checked); its chain, the
-- number of the first command of the batch that it depends on (its own, if there is none), negative unless it is the
-- first of its stream, whose version is compared; its idempotency key (NULL: none), the hash that edition 2 kept of it,
-- the hash of the payload, and whether a receipt is to be stored although there is no event to be it.
CREATE TYPE headwater_log.command_3 AS (
    stream uuid, command_id uuid, expected bigint, events integer, chain integer,
    key uuid, old_key uuid, payload uuid, store boolean
);
-- An event, of the command with this number. In the order of the commands. key and key_payload are those of a
-- command's last event.
CREATE TYPE headwater_log.event_3 AS (
    command integer, stream uuid, version bigint, type text, schema_version smallint, payload bytea,
    command_id uuid, caller text, traceparent text, subject text, key uuid, key_payload uuid
);
-- A tag of the event with this number, of the command with that one.
CREATE TYPE headwater_log.tag_3 AS (command integer, event integer, tag text, type text);
-- An item of the query that the command with this number was decided on: no event may match it that is after this
-- position, or of its stream, if it has one, after this version. Tags: all of them; types: any of them (NULL: all). A
-- stream without either has to be at the version exactly.
CREATE TYPE headwater_log.item_3 AS (
    command integer, after bigint, stream uuid, version bigint, tags text[], types text[]
);
-- A claim, mark or guard of the command with this number, for this stream: t take claim, f free claim, s set mark,
-- c clear mark, p guard: mark present, a guard: mark absent.
CREATE TYPE headwater_log.fact_3 AS (command integer, stream uuid, kind text, name text);
-- A command that failed: 1 version conflict (version is the stream's current one), 2 key known (its receipt follows),
-- 3 key known with another payload, 4 claim or guard with the number fact failed.
CREATE TYPE headwater_log.failure_3 AS (
    command integer, outcome integer, version bigint, position bigint, recorded bigint, stream uuid,
    partition integer, fact integer
);
