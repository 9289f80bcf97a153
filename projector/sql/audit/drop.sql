-- Removes the draft, or what one left that was killed. Lock: its tables, which nobody else reads.
DROP SCHEMA IF EXISTS headwater_draft CASCADE
