-- The few writes that were set aside are counted and found from here.
CREATE INDEX writes_set_aside ON writes (session_id) WHERE set_aside IS NOT NULL;
