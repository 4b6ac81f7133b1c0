-- Rows of general_dates for the relation minutes(id).
SELECT
    id,
    full_date,
    year(full_date)::SMALLINT AS year,
    quarter(full_date)::SMALLINT AS quarter,
    ['I', 'II', 'III', 'IV'][quarter(full_date)] AS quarter_label,
    month(full_date)::SMALLINT AS month,
    [
        'Январь', 'Февраль', 'Март', 'Апрель', 'Май', 'Июнь',
        'Июль', 'Август', 'Сентябрь', 'Октябрь', 'Ноябрь', 'Декабрь'
    ][month(full_date)] AS month_label,
    week(full_date)::SMALLINT AS week,
    isodow(full_date)::SMALLINT AS weekday,
    [
        'Понедельник', 'Вторник', 'Среда', 'Четверг', 'Пятница', 'Суббота', 'Воскресенье'
    ][isodow(full_date)] AS weekday_label,
    day(full_date)::SMALLINT AS day,
    hour(full_date)::SMALLINT AS hour,
    minute(full_date)::SMALLINT AS minute,
    full_date::DATE AS simple_date,
    isoyear(full_date)::SMALLINT AS week_year
FROM (
    SELECT id, TIMESTAMP '1970-01-01' + to_minutes(id) AS full_date FROM minutes
)
