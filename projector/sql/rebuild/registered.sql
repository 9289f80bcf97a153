-- The tables of a projection in a schema. Index: a few rows.
SELECT view, version, definition FROM headwater_read.view_version WHERE projection = $1 ORDER BY view, version
