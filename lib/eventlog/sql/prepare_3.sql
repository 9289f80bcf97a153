-- The log, edition 3, second half, before programs of edition 2 may be gone: the table that takes the place of the
-- table event, with a partition that tools for change capture take and every event's epoch. Filled while others append
-- (copy_events_3.sql). Repeated, it goes on with what is there. Run by the migration alone, as the owner.
CREATE TABLE IF NOT EXISTS headwater_log.event_copy (
    position       bigint NOT NULL,
    version        bigint NOT NULL,
    recorded_at    timestamptz NOT NULL,
    stream         uuid NOT NULL,
    command_id     uuid NOT NULL,
    partition      integer NOT NULL,
    epoch          integer NOT NULL,
    schema_version smallint NOT NULL,
    type           text NOT NULL,
    payload        bytea NOT NULL,
    caller         text,
    traceparent    text,
    digest         bytea,
    subject        text,
    key            uuid,
    key_payload    uuid,
    CONSTRAINT event_copy_pkey PRIMARY KEY (partition, position)
);
CREATE UNIQUE INDEX IF NOT EXISTS event_copy_stream ON headwater_log.event_copy (stream, version);
CREATE UNIQUE INDEX IF NOT EXISTS event_copy_key ON headwater_log.event_copy (key) WHERE key IS NOT NULL;
