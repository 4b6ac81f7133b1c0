-- Gives the new calls of the plan the ids of `new_ids`, in the order of the calls. The table is made
-- anew: DuckDB takes ten times as long to update its rows.
CREATE OR REPLACE TEMP TABLE plan AS
WITH fresh AS (
    SELECT plan.call_id, row_number() OVER (ORDER BY frame.called_at, plan.call_id) AS place
    FROM plan
    JOIN frame ON frame.call_id = plan.call_id
    WHERE plan.calls_action = 'add'
),
ids AS (
    SELECT id, row_number() OVER (ORDER BY id) AS place FROM new_ids
)
SELECT plan.* REPLACE (coalesce(plan.id, ids.id) AS id)
FROM plan
LEFT JOIN fresh ON fresh.call_id = plan.call_id
LEFT JOIN ids ON ids.place = fresh.place
