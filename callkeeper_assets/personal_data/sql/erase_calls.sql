-- Takes the person out of rows of forgotten calls that no raw call fills anew: the file is gone, or
-- the source is configured no more. Rows that a load has filled from erased raw calls are so already.
UPDATE callkeeper_calls AS c
SET client_phone = NULL,
    ip = NULL,
    user_agent = NULL,
    record_url = NULL,
    tags = NULL,
    page = regexp_replace(page, '[?#].*', ''),
    first_landing_page = regexp_replace(first_landing_page, '[?#].*', ''),
    first_referrer = regexp_replace(first_referrer, '[?#].*', ''),
    manager_phone = CASE
        WHEN right(regexp_replace(manager_phone, '[^0-9]', '', 'g'), 10)
            = right(regexp_replace(client_phone, '[^0-9]', '', 'g'), 10)
        THEN NULL
        ELSE manager_phone
    END,
    -- Where the client's number may be one of several, none of them stays.
    manager_phones = CASE
        WHEN strpos(
            regexp_replace(manager_phones, '[^0-9]', '', 'g'),
            right(regexp_replace(client_phone, '[^0-9]', '', 'g'), 10)
        ) > 0
        THEN NULL
        ELSE manager_phones
    END,
    loaded_at = now()
WHERE c.account_id = %(account_id)s AND c.call_id = ANY(%(calls)s)
    AND (
        coalesce(client_phone, ip, user_agent, record_url, tags) IS NOT NULL
        OR page ~ '[?#]' OR first_landing_page ~ '[?#]' OR first_referrer ~ '[?#]'
    )
