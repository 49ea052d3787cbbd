-- What stands in a stretch of a stream: asked for with every page and live frame.
CREATE INDEX versions_placed ON versions (vault, seq, id) WHERE seq IS NOT NULL;
