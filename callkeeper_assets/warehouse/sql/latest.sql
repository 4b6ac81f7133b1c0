-- Leaves out repetitions: of a call that two days hold (it moved between two fetches), the later
-- day's counts.
CREATE OR REPLACE TABLE {frame} AS
SELECT * FROM {frame} QUALIFY row_number() OVER (PARTITION BY call_id ORDER BY day DESC) = 1
