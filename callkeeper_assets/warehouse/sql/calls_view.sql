-- The star of a call, for the views; what stands in braces is put in. Each join finds one row at most,
-- and one of whose table no column is asked costs nothing: where facts are the first table, their
-- short rows answer alone what most people ask. Row 1, "unknown", tells nothing.
SELECT
    {columns}
FROM {first}
LEFT JOIN {second} ON f.account_id = c.account_id AND f.calls_id = c.id
LEFT JOIN general_accounts AS a ON a.account_id = {account}
LEFT JOIN general_traffic AS t ON t.id = f.traffic_id
LEFT JOIN general_sites AS s ON s.id = f.sites_id
LEFT JOIN general_locations AS l ON l.id = f.locations_id
LEFT JOIN general_clientids AS v ON v.id = f.clientids_id AND v.id <> 1
