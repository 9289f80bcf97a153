-- A draft is made anew if anything happens to it: nothing of it waits for the disk.
SET synchronous_commit = off;
SET statement_timeout = '60s'
