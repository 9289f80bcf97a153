-- The log, version 1. Run by the migration alone, in one transaction, as the owner.
CREATE SCHEMA headwater_log;

-- One row: which log this is. The epoch is raised by a restore; the number of partitions never changes.
CREATE TABLE headwater_log.log (
    singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    id             uuid NOT NULL,
    epoch          integer NOT NULL DEFAULT 1,
    partitions     smallint NOT NULL CHECK (partitions BETWEEN 1 AND 64),
    schema_version integer NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- One row a partition. An append holds it, so commit order is position order. The row is rewritten by every batch:
-- the low fillfactor keeps those updates on its own page (HOT).
CREATE TABLE headwater_log.head (
    partition   smallint PRIMARY KEY,
    position    bigint NOT NULL DEFAULT 0,
    recorded_at timestamptz NOT NULL DEFAULT '-infinity',
    digest      bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
) WITH (fillfactor = 10);

-- The events. Never updated, never deleted. Only the last event of an append carries the chained digest.
CREATE TABLE headwater_log.event (
    position       bigint NOT NULL,
    version        bigint NOT NULL,
    recorded_at    timestamptz NOT NULL,
    stream         uuid NOT NULL,
    command_id     uuid NOT NULL,
    partition      smallint NOT NULL,
    schema_version smallint NOT NULL,
    type           text NOT NULL,
    payload        bytea NOT NULL,
    caller         text,
    traceparent    text,
    digest         bytea,
    PRIMARY KEY (partition, position)
);
CREATE UNIQUE INDEX event_stream ON headwater_log.event (stream, version);

-- What a command with an idempotency key was answered with. Keys and payloads are hashes (16 bytes).
CREATE TABLE headwater_log.receipt (
    key         uuid PRIMARY KEY,
    payload     uuid NOT NULL,
    stream      uuid NOT NULL,
    version     bigint NOT NULL,
    position    bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    partition   smallint NOT NULL
);
CREATE INDEX receipt_age ON headwater_log.receipt USING brin (recorded_at);

-- Values that belong to one stream of the whole log at a time.
CREATE TABLE headwater_log.claim (
    value  text PRIMARY KEY CHECK (octet_length(value) <= 400),
    stream uuid NOT NULL
);

-- Marks that streams set for the guards of other streams of their partition.
CREATE TABLE headwater_log.mark (
    partition smallint NOT NULL,
    name      text NOT NULL CHECK (octet_length(name) <= 400),
    stream    uuid NOT NULL,
    PRIMARY KEY (partition, name, stream)
);

-- States of long streams, so that loading does not fold all of it. Never trusted beyond the event it names.
CREATE TABLE headwater_log.snapshot (
    stream    uuid PRIMARY KEY,
    version   bigint NOT NULL,
    position  bigint NOT NULL,
    aggregate text NOT NULL,
    format    smallint NOT NULL,
    state     bytea NOT NULL
);
