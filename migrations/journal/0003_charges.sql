-- A write is about a session, by its id, or about a charge, by 'charge:' and its id: the kind 'settle' says what one came
-- to. A charge outlives its session, so what waits of it does too.
ALTER TABLE writes RENAME COLUMN session_id TO about;
