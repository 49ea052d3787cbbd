-- The end of a retention: the sealed bytes of earlier periods are found without a look at all of them.
-- (The keys themselves lie beside the credentials.)
CREATE INDEX event_sealed_by_period ON event_sealed (purpose, period) WHERE period <> '';
