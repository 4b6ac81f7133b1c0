-- How many facts of the account are of a minute of the days, whether they have a call or not.
SELECT count(*)
FROM callkeeper_calls_facts
WHERE account_id = %(account_id)s
    AND dates_id >= %(first_minute)s AND dates_id < %(end_minute)s
