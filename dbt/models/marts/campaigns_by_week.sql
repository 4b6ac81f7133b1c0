select
    account,
    week_start,
    source,
    medium,
    campaign,
    count(*) as calls,
    count(*) filter (where is_answered) as answered,
    count(*) filter (where is_missed) as missed,
    count(distinct client_phone) as clients,
    sum(talk_sec) filter (where is_answered) as talk_sec
from {{ ref('stg_calls') }}
group by account, week_start, source, medium, campaign
