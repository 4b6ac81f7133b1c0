-- Calls of the source (`frame`, transformed) and of the warehouse (`existing`), side by side, by day
-- and id; refused days are left out. {numbers} are the compared numbers of either side. What a filter
-- leaves out of the source's calls is left out of the warehouse's, too. Calls that are not final count
-- as they are on days before $settled_before.
CREATE OR REPLACE TEMP TABLE compared AS
SELECT
    coalesce(s.day, w.day) AS day,
    coalesce(s.call_id, w.call_id) AS call_id,
    CASE
        WHEN NOT s.keep_calls THEN 'filtered'
        WHEN w.origin = 'webhook' AND w.called_at >= w.webhooks_stay_from THEN 'waiting'
        WHEN (NOT s.is_final OR NOT w.is_final)
            AND coalesce(s.day, w.day) >= $settled_before THEN 'non_final'
        WHEN w.call_id IS NULL OR (s.keep_facts AND NOT w.has_facts) THEN 'missing_in_warehouse'
        WHEN s.call_id IS NULL THEN 'missing_in_source'
        WHEN s.keep_facts THEN 'in_both'
        ELSE 'without_numbers'
    END AS standing,
    {numbers}
FROM (SELECT * FROM frame WHERE day NOT IN (SELECT day FROM days WHERE is_refused = 1)) AS s
FULL JOIN (
    SELECT existing.*, days.webhooks_stay_from
    FROM existing
    JOIN days ON days.day = existing.day AND days.is_refused = 0
) AS w ON w.day = s.day AND w.call_id = s.call_id
