-- Tables of the session for what streams hold by their events, gone with it. foreign_stream: streams of which
-- nothing is told.
CREATE TEMPORARY TABLE held_claim (value text, stream uuid);
CREATE TEMPORARY TABLE held_mark (partition integer, name text, stream uuid);
CREATE TEMPORARY TABLE foreign_stream (stream uuid);
