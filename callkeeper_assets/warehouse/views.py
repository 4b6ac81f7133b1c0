"""The wide views, declared: one row a call, under names that people use.

`calls` has English names and values, `звонки` the same columns under Russian captions. `migrate`
makes them anew from this declaration after its migrations, so that a change here needs one, empty
or not. Columns are only added, at the end: PostgreSQL lets a view that others read change in no
other way. Knows nothing of a database connection.
"""

from dataclasses import dataclass
from typing import Final, Literal

from callkeeper_assets.postgres import read_sql_of
from callkeeper_assets.postgres.schemas import PUBLIC
from callkeeper_assets.warehouse.outcomes import (
    OUTCOME_NAMES,
    OUTCOMES,
    build_outcome_sql,
)
from callkeeper_assets.warehouse.schema import ColumnType

ViewName = Literal["calls", "звонки"]

CALLS_VIEW: Final = "calls"
RUSSIAN_CALLS_VIEW: Final = "звонки"
VIEWS: Final[tuple[ViewName, ...]] = (CALLS_VIEW, RUSSIAN_CALLS_VIEW)
# By which people group. Without statistics of what is reckoned the server takes each minute for a
# group of its own, and sorts all rows, by one process, where it could count them by several.
_GROUPED_BY: Final = (
    *("date", "week_start", "month_start", "year", "quarter", "month", "month_name"),
    *("hour", "weekday", "weekday_name"),
)
_FACTS: Final = "callkeeper_calls_facts AS f"
_CALLS: Final = "callkeeper_calls AS c"
# How a view of ours is told from another that has its name; stays.
MARK: Final = "Calls, one row each"
DESCRIPTION: Final = (
    f"{MARK}, with everything that is known of them, for BI tools. / "
    "Звонки: строка на звонок, со всем, что о нём известно."
)


@dataclass(frozen=True)
class ViewColumn:
    """One column of both views.

    Attributes:
        caption: its name in the Russian view.
        expression: SQL over the aliases of `sql/calls_view.sql`.
        russian: the same, where values are words that a Russian report shows in Russian.
        unit: of a number.
        of_call: the same, and `of_call_russian`, where the row of a call is the only one that is
            sure to be there; left out where it is the same.
    """

    name: str
    caption: str
    type: ColumnType
    expression: str
    description: str
    description_ru: str
    russian: str | None = None
    unit: str | None = None
    of_call: str | None = None
    of_call_russian: str | None = None

    def build(self, view: ViewName, *, begins_with_calls: bool) -> str:
        """Build its expression in a view; see `build_view`."""
        is_russian = view == RUSSIAN_CALLS_VIEW
        expression = (is_russian and self.russian) or self.expression
        if begins_with_calls:
            expression = (is_russian and self.of_call_russian) or self.of_call or expression
        return f"{expression} AS {quote(name_of(self, view))}"

    @property
    def comment(self) -> str:
        """What the database says of it, in both languages."""
        return f"{self.description} / {self.description_ru}"


def _words(value: str, words: dict[int, str] | dict[str, str]) -> str:
    whens = " ".join(
        f"WHEN {key if isinstance(key, int) else repr(key)} THEN '{word}'"
        for key, word in words.items()
    )
    return f"CASE {value} {whens} END"


def _numbered(value: str, words: str) -> str:
    return _words(value, dict(enumerate(words.split(), start=1)))


_MONTHS: Final = (
    "January February March April May June July August September October November December"
)
_MONTHS_RU: Final = (
    "Январь Февраль Март Апрель Май Июнь Июль Август Сентябрь Октябрь Ноябрь Декабрь"
)
_WEEKDAYS: Final = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
_WEEKDAYS_RU: Final = "Понедельник Вторник Среда Четверг Пятница Суббота Воскресенье"
# What general_dates says of a minute follows from its id, the minutes since 1970: reckoned it costs
# a fraction of a join with a row for each minute of years.
_MINUTE: Final = "nullif(f.dates_id, 1)"
_DATE: Final = f"(date '1970-01-01' + {_MINUTE} / 1440)"
# 1970 began on a Thursday, and the week on Monday, 29 December 1969.
_DAYS_AFTER_MONDAY: Final = f"mod({_MINUTE} / 1440 + 3, 7)"
_WEEK_START: Final = f"(date '1969-12-29' + ({_MINUTE} / 1440 + 3) / 7 * 7)"
_HOUR: Final = f"mod({_MINUTE} / 60, 24)::smallint"
_WEEKDAY: Final = f"({_DAYS_AFTER_MONDAY} + 1)::smallint"
_STATUSES_RU: Final = {
    "success": "успешный",
    "failed": "неуспешный",
    "in_progress": "идёт",
    "planned": "запланирован",
    "pending": "ждёт статуса",
}
_WAIT: Final = "extract(epoch FROM c.called_at - c.ordered_at)::integer"
_IS_TALK: Final = "f.outcome = 'answered'"


def _part(field: str) -> str:
    return f"extract({field} FROM {_DATE})::smallint"


def _manager(extension: str) -> str:
    return (
        "CASE WHEN c.manager_extension IS NULL THEN c.manager_phone "
        f"ELSE concat(c.manager_phone, '{extension}', c.manager_extension) END"
    )


def _mark(
    name: str, caption: str, expression: str, description: str, description_ru: str
) -> ViewColumn:
    return ViewColumn(name, caption, "text", expression, description, description_ru)


COLUMNS: Final[tuple[ViewColumn, ...]] = (
    ViewColumn(
        "account_id",
        "ID аккаунта",
        "integer",
        "f.account_id",
        "The account's id: `general_accounts.account_id`",
        "Номер аккаунта в хранилище",
        of_call="c.account_id",
    ),
    _mark(
        "account",
        "Аккаунт",
        "coalesce(a.caption, a.name)",
        "The account's caption, as configured; its name where there is none",
        "Название аккаунта из настроек",
    ),
    ViewColumn(
        "call_id",
        "ID звонка",
        "bigint",
        "c.call_id",
        "The call's id in CallKeeper; of a call that is no callback see `callkeeper_calls.service`",
        "Номер звонка в CallKeeper",
    ),
    ViewColumn(
        "local_time",
        "Время",
        "timestamp without time zone",
        f"timestamp '1970-01-01' + {_MINUTE} * interval '1 minute'"
        " + make_interval(secs => extract(second FROM f.began_at)::double precision)",
        "When it was called, by the clock of the account's time zone; this and what follows to "
        "`hour` is NULL where the source has no facts, or a filter leaves out the minute",
        "Когда звонили, по часам аккаунта",
    ),
    ViewColumn(
        "date",
        "Дата",
        "date",
        _DATE,
        "The day, on the same clock",
        "День по часам аккаунта",
    ),
    ViewColumn("year", "Год", "smallint", _part("year"), "Year of the day", "Год"),
    ViewColumn(
        "quarter", "Квартал", "smallint", _part("quarter"), "Quarter, 1 to 4", "Квартал, 1–4"
    ),
    ViewColumn("month", "Месяц", "smallint", _part("month"), "Month, 1 to 12", "Месяц, 1–12"),
    ViewColumn(
        "month_name",
        "Название месяца",
        "text",
        _numbered(_part("month"), _MONTHS),
        "Month's name",
        "Название месяца",
        russian=_numbered(_part("month"), _MONTHS_RU),
    ),
    ViewColumn(
        "month_start",
        "Начало месяца",
        "date",
        f"date_trunc('month', {_DATE}::timestamp)::date",
        "First day of the month",
        "Первый день месяца",
    ),
    ViewColumn(
        "week_year",
        "Год недели",
        "smallint",
        _part("isoyear"),
        "Year of the ISO week: 2025-12-29 is of week 1 of 2026",
        "Год недели по ISO: 29.12.2025 относится к неделе 1 года 2026",
    ),
    ViewColumn(
        "week", "Неделя", "smallint", _part("week"), "ISO week, 1 to 53", "Неделя по ISO, 1–53"
    ),
    ViewColumn(
        "week_start",
        "Начало недели",
        "date",
        _WEEK_START,
        "First day of the week, a Monday",
        "Первый день недели, понедельник",
    ),
    ViewColumn(
        "weekday",
        "Номер дня недели",
        "smallint",
        _WEEKDAY,
        "Day of the week, 1 is Monday",
        "Номер дня недели, 1 – понедельник",
    ),
    ViewColumn(
        "weekday_name",
        "День недели",
        "text",
        _numbered(_WEEKDAY, _WEEKDAYS),
        "Its name",
        "День недели",
        russian=_numbered(_WEEKDAY, _WEEKDAYS_RU),
    ),
    ViewColumn("hour", "Час", "smallint", _HOUR, "Hour, 0 to 23", "Час, 0–23"),
    ViewColumn(
        "called_at",
        "Момент звонка",
        "timestamp with time zone",
        "f.began_at",
        "When it was called, as a moment",
        "Момент звонка, с часовым поясом",
        of_call="c.called_at",
    ),
    ViewColumn(
        "ordered_at",
        "Момент заказа",
        "timestamp with time zone",
        "c.ordered_at",
        "When it was ordered",
        "Когда звонок заказали",
    ),
    ViewColumn(
        "outcome",
        "Итог",
        "text",
        "f.outcome",
        f"What became of it: {', '.join(f'`{name}`' for name in OUTCOME_NAMES)}; from the two "
        "codes, as the data dictionary lists them",
        "Чем кончился звонок; по двум кодам, см. словарь данных",
        russian=_words("f.outcome", {str(one.name): one.label_ru for one in OUTCOMES}),
        of_call=build_outcome_sql(),
        of_call_russian=build_outcome_sql(is_russian=True),
    ),
    ViewColumn(
        "status",
        "Статус",
        "text",
        "c.status",
        "`success`, `failed`, `in_progress`, `planned`, `pending`, as `callkeeper_calls.status`",
        "Статус: успешный, неуспешный, идёт, запланирован, ждёт статуса",
        russian=_words("c.status", _STATUSES_RU),
    ),
    ViewColumn(
        "is_final",
        "Статус окончательный",
        "boolean",
        "f.outcome <> 'in_progress'",
        "Whether the status can no longer change",
        "Статус больше не изменится",
        of_call="c.is_final",
    ),
    ViewColumn(
        "status_code",
        "Код 1",
        "integer",
        "c.status_code",
        "Code of the leg to the manager; of call tracking, to the substitute number",
        "Код плеча менеджера; в коллтрекинге – подменного номера",
    ),
    ViewColumn(
        "status2_code",
        "Код 2",
        "integer",
        "c.status2_code",
        "Code of the leg to the client; of call tracking, to the forwarding number",
        "Код плеча клиента; в коллтрекинге – номера переадресации",
    ),
    ViewColumn(
        "attempt",
        "Попытка",
        "integer",
        "f.attempt",
        "Number of the attempt to connect the same order, from 1; each attempt is a call, and a "
        "row, of its own. NULL if the source gave none",
        "Номер попытки соединить по одному заказу, с 1; каждая попытка – отдельный звонок и строка",
    ),
    ViewColumn(
        "wait_sec",
        "От заказа до звонка, с",
        "integer",
        f"CASE WHEN c.ordered_at <= c.called_at AND c.called_at - c.ordered_at < interval '1 year' "
        f"THEN {_WAIT} END",
        "From the order to the call; a planned call waits as long as the client wished, and a "
        "later attempt for those before. NULL without a time of the order",
        "От заказа до звонка; запланированный ждёт, сколько просил клиент",
        unit="s",
    ),
    ViewColumn(
        "answer_sec",
        "До ответа, с",
        "integer",
        f"CASE WHEN {_IS_TALK} AND f.duration_sec >= f.duration2_sec "
        "THEN f.duration_sec - f.duration2_sec END",
        "Time to answer: from the call's beginning to the talk's, the call's duration less the "
        "talk's. Of answered calls; NULL where the source tells one of the two alone, as the "
        "unified API does",
        "Время до ответа: от начала звонка до начала разговора; только у состоявшихся",
        unit="s",
    ),
    ViewColumn(
        "duration_sec",
        "Длительность, с",
        "integer",
        "f.duration_sec",
        "The call's duration; NULL if the source gave none",
        "Длительность звонка",
        unit="s",
    ),
    ViewColumn(
        "talk_sec",
        "Разговор, с",
        "integer",
        "f.duration2_sec",
        "The talk's duration, from the client's pick-up",
        "Длительность разговора, с ответа клиента",
        unit="s",
    ),
    ViewColumn(
        "duration_min",
        "Длительность, мин",
        "integer",
        "f.duration_min",
        "The call's duration in charged minutes, rounded up",
        "Длительность звонка в минутах тарифа, с округлением вверх",
        unit="min",
    ),
    ViewColumn(
        "talk_min",
        "Разговор, мин",
        "integer",
        "f.duration2_min",
        "The talk's duration in charged minutes, rounded up",
        "Разговор в минутах тарифа, с округлением вверх",
        unit="min",
    ),
    ViewColumn(
        "manager",
        "Менеджер",
        "text",
        "f.manager",
        "The manager: number and extension; the first of several",
        "Менеджер: номер и добавочный; первый из нескольких",
        russian="replace(f.manager, ' ext. ', ' доб. ')",
        of_call=_manager(" ext. "),
        of_call_russian=_manager(" доб. "),
    ),
    _mark("manager_phone", "Номер менеджера", "c.manager_phone", "Number alone", "Номер менеджера"),
    _mark(
        "manager_extension", "Добавочный", "c.manager_extension", "Extension alone", "Добавочный"
    ),
    ViewColumn(
        "client_phone",
        "Номер клиента",
        "text",
        "f.client",
        "The client's number, as the account's `privacy` lets it be stored",
        "Номер клиента, в том виде, в котором его разрешает хранить `privacy`",
        of_call="c.client_phone",
    ),
    _mark(
        "service",
        "Услуга",
        "c.service",
        "The service that the call went through: `callback`, `calltracking` or `import`",
        "Услуга: обратный звонок, коллтрекинг или импорт",
    ),
    _mark(
        "event_source",
        "Откуда заказан",
        "c.event_source",
        "What the call was ordered from: `widget`, `mobile`, `api`, …",
        "Откуда заказан: виджет, мобильный, API…",
    ),
    _mark(
        "connection_type",
        "Способ соединения",
        "c.connection_type",
        "How it was connected, as `callkeeper_calls.connection_type`",
        "Как соединили",
    ),
    _mark("widget", "Виджет", "c.widget_name", "The widget's name", "Название виджета"),
    _mark(
        "traffic_type",
        "Тип трафика",
        't."grouping"',
        "The visit's kind: `paid`, `organic`, `referral`, `direct`, or another that the source "
        "names",
        "Вид визита: платный, поиск, ссылка, прямой",
    ),
    _mark("source", "Источник", "t.source", "utm_source of the visit", "utm_source визита"),
    _mark("medium", "Канал", "t.medium", "utm_medium of the visit", "utm_medium визита"),
    _mark("campaign", "Кампания", "t.campaign", "utm_campaign of the visit", "utm_campaign визита"),
    _mark("content", "Объявление", "t.content", "utm_content of the visit", "utm_content визита"),
    _mark("term", "Ключевое слово", "t.keyword", "utm_term of the visit", "utm_term визита"),
    _mark(
        "landing_page",
        "Страница входа",
        "t.landing_page",
        "The page on which the visit began",
        "Страница, с которой начался визит",
    ),
    _mark(
        "first_traffic_type",
        "Тип трафика первого визита",
        "c.first_grouping",
        "Kind of the visitor's first visit",
        "Вид первого визита",
    ),
    _mark(
        "first_source",
        "Источник первого визита",
        "c.first_source",
        "utm_source of the first visit",
        "utm_source первого визита",
    ),
    _mark(
        "first_medium",
        "Канал первого визита",
        "c.first_medium",
        "utm_medium of the first visit",
        "utm_medium первого визита",
    ),
    _mark(
        "first_campaign",
        "Кампания первого визита",
        "c.first_campaign",
        "utm_campaign of the first visit",
        "utm_campaign первого визита",
    ),
    _mark("site", "Сайт", "s.domain", "The site", "Сайт"),
    _mark(
        "page",
        "Страница заказа",
        "c.page",
        "The page from which it was ordered",
        "Страница, с которой заказан",
    ),
    _mark(
        "country",
        "Страна",
        "coalesce(l.country_iso, l.country)",
        "The client's country: two letters, or the name where the source gives no code",
        "Страна клиента: код или название",
    ),
    _mark("region", "Регион", "l.region", "The client's region", "Регион клиента"),
    _mark("city", "Город", "l.city", "The client's city", "Город клиента"),
    ViewColumn(
        "visit",
        "Номер визита",
        "integer",
        "f.visit",
        "Ordinal of the visit: how many the visitor has had",
        "Который это визит посетителя",
    ),
    ViewColumn(
        "pages",
        "Страниц до звонка",
        "integer",
        "f.pages",
        "Pages seen in the visit before the call",
        "Страниц просмотрено до звонка",
    ),
    _mark(
        "ga_client_id",
        "ClientID Google",
        "v.clientid",
        "Client id of Google Analytics",
        "Идентификатор посетителя в Google Analytics",
    ),
    _mark(
        "ym_client_id",
        "ClientID Метрики",
        "v.userid",
        "Client id of Yandex Metrica",
        "Идентификатор посетителя в Яндекс Метрике",
    ),
    _mark("tags", "Теги", "c.tags", "Tags, joined by commas", "Теги через запятую"),
    ViewColumn(
        "has_recording",
        "Есть запись",
        "boolean",
        "f.has_recording",
        "Whether there is a recording",
        "Есть ли запись",
        of_call="c.record_url IS NOT NULL",
    ),
    _mark("recording", "Запись", "c.record_url", "The recording's address", "Ссылка на запись"),
    _mark(
        "origin",
        "Сообщил",
        "c.origin",
        "Who told: `api` or `webhook`",
        "Кто сообщил: API или вебхук",
    ),
    ViewColumn(
        "loaded_at",
        "Обновлено",
        "timestamp with time zone",
        "c.loaded_at",
        "When a value of the call last changed here",
        "Когда здесь последний раз изменилось значение",
    ),
)


def quote(name: str) -> str:
    """Quote a declared name; none has a quote in it."""
    return f'"{name}"'


def name_of(column: ViewColumn, view: ViewName) -> str:
    """Return a column's name in a view."""
    return column.name if view == CALLS_VIEW else column.caption


def build_view(view: ViewName, *, begins_with_calls: bool) -> list[str]:
    """Build the statements that make a view, or bring one of ours to this declaration.

    Args:
        view: Which one.
        begins_with_calls: Whether a call may have no facts, and is a row all the same; then a
            question reads the calls, whose rows are long, even where the facts could answer it.
    """
    columns = [one.build(view, begins_with_calls=begins_with_calls) for one in COLUMNS]
    name = f"{PUBLIC}.{quote(view)}"
    first, second = (_CALLS, _FACTS) if begins_with_calls else (_FACTS, _CALLS)
    select = read_sql_of("callkeeper_assets.warehouse")("calls_view").format(
        columns=",\n    ".join(columns),
        first=first,
        second=second,
        account="c.account_id" if begins_with_calls else "f.account_id",
    )
    comments = [(f"COLUMN {name}.{quote(name_of(one, view))}", one.comment) for one in COLUMNS]
    return [
        f"CREATE OR REPLACE VIEW {name} AS\n{select}",
        *(
            "COMMENT ON {} IS '{}'".format(what, text.replace("'", "''"))
            for what, text in [(f"VIEW {name}", DESCRIPTION), *comments]
        ),
    ]


def build_statistics() -> list[str]:
    """Build the statements that let the server know how many values reckoned columns have.

    What is there stays: an expression that changes needs a migration that drops its statistics.
    """
    # By expression: most are the same in both languages.
    names: dict[str, str] = {}
    for one in COLUMNS:
        if one.name in _GROUPED_BY:
            names.setdefault(one.expression, one.name)
            names.setdefault(one.russian or one.expression, f"{one.name}_ru")
    made = (
        f"CREATE STATISTICS IF NOT EXISTS {PUBLIC}.callkeeper_calls_facts_{name} "
        f"ON ({expression.replace('f.', '')}) FROM callkeeper_calls_facts"
        for expression, name in names.items()
    )
    return [*made, "ANALYZE callkeeper_calls_facts"]
