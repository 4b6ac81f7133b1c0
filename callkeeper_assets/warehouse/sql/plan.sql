-- What becomes of each call of the batch, and of each that the warehouse holds for its days:
-- per table 'add', 'update', 'delete' or NULL. `frame` is the batch, `existing` the warehouse's
-- calls (day is NULL outside the batch's days), `days` the batch's days: which must not be
-- replaced, and from when on calls stay that only a webhook told of.
CREATE OR REPLACE TEMP TABLE plan AS
WITH wanted AS (
    SELECT
        frame.*,
        coalesce(clientids.id, 1) AS clientids_id,
        coalesce(traffic.id, 1) AS traffic_id,
        coalesce(sites.id, 1) AS sites_id,
        coalesce(locations.id, 1) AS locations_id
    FROM frame
    LEFT JOIN known_clientids AS clientids ON clientids.key = frame.clientids_key
    LEFT JOIN known_traffic AS traffic ON traffic.key = frame.traffic_key
    LEFT JOIN known_sites AS sites ON sites.key = frame.sites_key
    LEFT JOIN known_locations AS locations ON locations.key = frame.locations_key
    WHERE frame.day NOT IN (SELECT day FROM days WHERE is_refused = 1)
),
-- A call that stays is not deleted for missing in the batch.
held AS (
    SELECT
        existing.*,
        existing.day IS NULL
        OR days.is_refused = 1
        OR (existing.origin = 'webhook'
            AND coalesce(existing.called_at >= days.webhooks_stay_from, false)) AS stays
    FROM existing
    LEFT JOIN days ON days.day = existing.day
)
SELECT
    coalesce(w.call_id, e.call_id) AS call_id,
    coalesce(w.day, e.day) AS day,
    e.id,
    CASE
        WHEN w.keep_calls AND e.id IS NULL THEN 'add'
        WHEN w.keep_calls AND ({calls_differ}) THEN 'update'
        WHEN w.keep_calls OR e.id IS NULL THEN NULL
        WHEN w.call_id IS NOT NULL OR NOT e.stays THEN 'delete'
    END AS calls_action,
    CASE
        WHEN w.keep_facts AND e.has_facts IS NOT TRUE THEN 'add'
        WHEN w.keep_facts AND ({facts_differ}) THEN 'update'
        WHEN w.keep_facts OR e.has_facts IS NOT TRUE THEN NULL
        WHEN w.call_id IS NOT NULL OR NOT e.stays THEN 'delete'
    END AS facts_action,
    w.clientids_id,
    w.traffic_id,
    w.sites_id,
    w.locations_id,
    w.call_id IS NULL AND e.origin = 'webhook' AND e.stays AS is_unconfirmed,
    e.has_facts
FROM wanted AS w
FULL JOIN held AS e ON e.call_id = w.call_id
