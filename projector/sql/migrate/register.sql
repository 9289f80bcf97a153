-- Registers a view's first table, in the transaction that creates it. Index: view_version's primary key.
INSERT INTO headwater_read.view_version (projection, view, version, live, definition)
VALUES ($1, $2, $3, true, $4)
