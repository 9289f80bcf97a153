-- The log, edition 3: the epoch that an event was appended in (NULL: by a program of edition 2), and whom its payload
-- is about, if anybody. The last event of a command that had an idempotency key tells the key and the payload that it
-- came with (hashes, 16 bytes): the event is the receipt. Run by the migration alone, as the owner. Lock: the table
-- event, for the moment that it takes to add to the catalogue. Repeated, it does nothing.
ALTER TABLE headwater_log.event
    ADD COLUMN IF NOT EXISTS epoch integer, ADD COLUMN IF NOT EXISTS subject text,
    ADD COLUMN IF NOT EXISTS key uuid, ADD COLUMN IF NOT EXISTS key_payload uuid;
