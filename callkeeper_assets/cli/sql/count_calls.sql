-- How many calls a source sent for some days, at the last load of each, before any filter.
SELECT coalesce(sum(d.raw_calls), 0)
FROM callkeeper_days AS d
JOIN general_accounts AS a ON a.account_id = d.account_id
WHERE a.name = %(name)s
    AND (d.day BETWEEN %(first)s AND %(last)s OR d.day = ANY(%(others)s::date[]))
