-- One snapshot for the checkpoint and all rows that are compared with it. Lock: before the snapshot is taken, the table
-- that a rebuild's switch locks first: tables that came in its place would not be what the snapshot's checkpoint says.
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
LOCK TABLE headwater_read.view_version IN ACCESS SHARE MODE
