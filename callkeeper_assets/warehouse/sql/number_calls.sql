-- Gives the new calls of the plan the ids of `new_ids`, in the order of the calls.
UPDATE plan
SET id = numbered.id
FROM (
    SELECT fresh.call_id, ids.id
    FROM (
        SELECT plan.call_id, row_number() OVER (ORDER BY frame.called_at, plan.call_id) AS place
        FROM plan
        JOIN frame ON frame.call_id = plan.call_id
        WHERE plan.calls_action = 'add'
    ) AS fresh
    JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM new_ids) AS ids
        ON ids.place = fresh.place
) AS numbered
WHERE plan.call_id = numbered.call_id
