-- A heat map without holes: hours without a call have 0.
select
    h.date,
    h.weekday,
    h.hour,
    count(c.call_id) as calls,
    count(*) filter (where c.is_answered) as answered,
    count(*) filter (where c.outcome = 'missed_by_manager') as missed_by_manager
from {{ ref('stg_hours') }} as h
left join {{ ref('stg_calls') }} as c on c.date = h.date and c.hour = h.hour
group by h.date, h.weekday, h.hour
