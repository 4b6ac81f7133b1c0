-- Lets go of the visitor, of what facts have of the call, as erase_calls left it, and of a landing
-- page with click ids, where no raw call did it.
UPDATE callkeeper_calls_facts AS f
SET clientids_id = 1,
    traffic_id = CASE WHEN t.landing_page ~ '[?#]' THEN 1 ELSE f.traffic_id END,
    client = NULL,
    has_recording = false,
    manager = CASE WHEN c.manager_phone IS NULL THEN NULL ELSE f.manager END
FROM callkeeper_calls AS c, general_traffic AS t
WHERE f.account_id = %(account_id)s AND c.account_id = f.account_id AND c.id = f.calls_id
    AND c.call_id = ANY(%(calls)s) AND t.id = f.traffic_id
    AND (
        f.clientids_id <> 1 OR t.landing_page ~ '[?#]' OR f.client IS NOT NULL
        OR f.has_recording
    )
