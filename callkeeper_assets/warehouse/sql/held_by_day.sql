-- The warehouse's calls with the day of the batch on which they lie; NULL if on another.
CREATE OR REPLACE TEMP VIEW existing AS
SELECT held.*, segments.day
FROM held
LEFT JOIN segments ON held.called_at >= segments.starts_at AND held.called_at < segments.ends_at
