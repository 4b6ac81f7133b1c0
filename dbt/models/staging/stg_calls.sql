-- Calls that count for a business, one row each: no tests, no duplicates.
select
    account_id,
    account,
    call_id,
    local_time,
    date,
    week_start,
    month_start,
    weekday,
    hour,
    outcome,
    outcome = 'answered' as is_answered,
    outcome in ('missed_by_manager', 'missed_by_client') as is_missed,
    weekday > 5
        or hour < {{ var('opens_at') }}
        or hour >= {{ var('closes_at') }} as is_after_hours,
    coalesce(attempt, 1) as attempt,
    answer_sec,
    talk_sec,
    manager,
    client_phone,
    source,
    medium,
    campaign,
    site,
    city,
    has_recording
from {{ source('callkeeper', 'calls') }}
where date is not null and outcome not in ('test', 'duplicate')
