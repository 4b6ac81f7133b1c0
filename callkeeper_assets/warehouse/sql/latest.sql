-- Calls without repetition: of one that two days hold, the later day's.
SELECT * FROM calls QUALIFY row_number() OVER (PARTITION BY call_id ORDER BY day DESC) = 1
