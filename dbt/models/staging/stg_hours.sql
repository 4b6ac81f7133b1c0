-- Every hour of the days that are loaded, whether anybody called or not.
select simple_date as date, weekday, hour
from {{ source('callkeeper', 'general_dates') }}
where minute = 0 and id <> 1
