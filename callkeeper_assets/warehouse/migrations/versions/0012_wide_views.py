"""One row a call, wide: the views `calls` and `звонки`; every hour of the days that are loaded.

`migrate` makes the views after its migrations, from their declaration.
"""

from typing import Final

from alembic import op

revision: Final = "0012"
down_revision: Final = "0011"

# Not where no source has chosen the table.
_HOURS: Final = """
    INSERT INTO general_dates
    SELECT
        (extract(epoch FROM at) / 60)::integer,
        at,
        extract(year FROM at),
        extract(quarter FROM at),
        (ARRAY['I', 'II', 'III', 'IV'])[extract(quarter FROM at)],
        extract(month FROM at),
        (ARRAY[
            'Январь', 'Февраль', 'Март', 'Апрель', 'Май', 'Июнь',
            'Июль', 'Август', 'Сентябрь', 'Октябрь', 'Ноябрь', 'Декабрь'
        ])[extract(month FROM at)],
        extract(week FROM at),
        extract(isodow FROM at),
        (ARRAY[
            'Понедельник', 'Вторник', 'Среда', 'Четверг', 'Пятница', 'Суббота', 'Воскресенье'
        ])[extract(isodow FROM at)],
        extract(day FROM at),
        extract(hour FROM at),
        0,
        at::date,
        extract(isoyear FROM at)
    FROM (SELECT DISTINCT day FROM callkeeper_days) AS days
    CROSS JOIN LATERAL generate_series(
        day::timestamp, day + interval '23 hours', interval '1 hour'
    ) AS at
    WHERE EXISTS (SELECT FROM general_dates WHERE id <> 1)
    ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    """Add the hours."""
    op.execute(_HOURS)
