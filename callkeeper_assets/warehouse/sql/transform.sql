-- Raw calls' fields (text, as received; NULL if blank) and what numbers and moments were read of
-- them (read_<field>) to the values of the tables' columns:
-- one row a call. Columns of dimensions are prefixed with their table's short name.
-- {extra}: raw fields that filters ask for. {unread}: whether a value could not be read.
-- Rules that interpret the source live in the macros of macros.sql.
SELECT
    call_id,
    called_at,
    day,
    read_status_code AS status_code,
    read_status2_code AS status2_code,
    coalesce(
        call_status(read_status_code, read_status2_code),
        worded_status(status_word, read_status_code)
    ) AS status,
    status IS NULL OR status NOT IN ('in_progress', 'planned', 'pending') AS is_final,
    read_order_date AS ordered_at,
    status_reason,
    status2_reason,
    phone_number(manager) AS manager_phone,
    CASE
        WHEN managers IS NOT NULL THEN nullif(first_extension(managers), '')
        WHEN contains(phone1, '^') THEN blank_to_null(substr(phone1, strpos(phone1, '^') + 1))
    END AS manager_extension,
    managers AS manager_phones,
    phone_number(phone2) AS client_phone,
    widget_hash,
    widget_name,
    connection_type(a_type) AS connection_type,
    event_source,
    told(cpg) AS page,
    uag AS user_agent,
    told(ip) AS ip,
    record_url,
    joined_tags(tags) AS tags,
    coalesce(service_type, 'callback') AS service,
    "universalId" AS universal_id,
    visit_grouping(
        lower(first_type), first_source, lower(first_medium), first_campaign, first_content,
        first_term, told(first_entry_point), first_referrer
    ) AS first_grouping,
    mark(first_source) AS first_source,
    mark(first_medium) AS first_medium,
    mark(first_campaign) AS first_campaign,
    mark(first_content) AS first_content,
    mark(first_term) AS first_keyword,
    told(first_entry_point) AS first_landing_page,
    mark(first_referrer) AS first_referrer,
    read_first_started::TIMESTAMP AS first_visit_at,
    read_duration_sec AS duration_sec,
    read_duration2_sec AS duration2_sec,
    read_duration_min AS duration_min,
    read_duration2_min AS duration2_min,
    read_attempt AS attempt,
    coalesce(
        read_asr_attempts, counted(read_smart_call_count, a_type IS NOT NULL)
    ) AS asr_attempts,
    coalesce(
        read_playback_tick,
        counted(read_ivr_count, service_type = 'callback' AND read_status_code = 200)
    ) AS playback_tick,
    read_pgs AS pages,
    read_vst AS visit,
    called_at AS began_at,
    call_outcome(read_status_code, read_status2_code, status, is_final, service) AS outcome,
    record_url IS NOT NULL AS has_recording,
    CASE
        WHEN manager_extension IS NULL THEN manager_phone
        ELSE concat(manager_phone, ' ext. ', manager_extension)
    END AS manager,
    client_phone AS client,
    local_minute,
    site AS sites_domain,
    CASE WHEN length(country) = 2 THEN upper(country) END AS locations_country_iso,
    CASE WHEN length(country) <> 2 THEN place(country) END AS locations_country,
    place(region) AS locations_region,
    place(city) AS locations_city,
    visit_grouping(
        lower(current_type), current_source, lower(current_medium), current_campaign,
        current_content, current_term, told(current_entry_point), current_referrer
    ) AS traffic_grouping,
    mark(current_source) AS traffic_source,
    mark(current_medium) AS traffic_medium,
    mark(current_campaign) AS traffic_campaign,
    mark(current_content) AS traffic_content,
    mark(current_term) AS traffic_keyword,
    told(current_entry_point) AS traffic_landing_page,
    ga_clientid AS clientids_clientid,
    ya_clientid AS clientids_userid,
    phone_number(phone2) AS clientids_phone,
    {unread} AS has_unread,
    is_misplaced
    {extra}
FROM readings
