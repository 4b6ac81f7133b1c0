-- The star of a call, for the views; {columns} are put in. Each join finds one row at most, and one
-- of whose table no column is asked costs nothing. Row 1, "unknown", tells nothing.
SELECT
    {columns}
FROM callkeeper_calls AS c
LEFT JOIN general_accounts AS a ON a.account_id = c.account_id
LEFT JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
LEFT JOIN general_traffic AS t ON t.id = f.traffic_id
LEFT JOIN general_sites AS s ON s.id = f.sites_id
LEFT JOIN general_locations AS l ON l.id = f.locations_id
LEFT JOIN general_clientids AS v ON v.id = f.clientids_id AND v.id <> 1
