-- The views that queries read. Index: view_version_live; a few rows.
SELECT view, version, definition, projection FROM headwater_read.view_version WHERE live
