-- Lets go of the visitor, of what facts have of the call, as erase_calls left it, and of a landing
-- page with click ids, where no raw call did it.
UPDATE callkeeper_calls_facts AS f
SET clientids_id = 1,
    traffic_id = CASE WHEN t.landing_page ~ '[?#]' THEN 1 ELSE f.traffic_id END,
    has_recording = c.record_url IS NOT NULL,
    manager = CASE
        WHEN c.manager_extension IS NULL THEN c.manager_phone
        ELSE concat(c.manager_phone, ' ext. ', c.manager_extension)
    END,
    client = c.client_phone
FROM callkeeper_calls_facts AS held
JOIN callkeeper_calls AS c ON c.account_id = held.account_id AND c.id = held.calls_id
LEFT JOIN general_traffic AS t ON t.id = held.traffic_id
WHERE f.account_id = %(account_id)s AND c.account_id = f.account_id AND c.id = f.calls_id
    AND c.call_id = ANY(%(calls)s)
    AND (
        f.clientids_id <> 1 OR t.landing_page ~ '[?#]' OR f.client IS NOT NULL
        OR f.has_recording
    )
