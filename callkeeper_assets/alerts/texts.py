"""The words of findings and of messages, in English and in Russian.

What runs and checks say of themselves is in English in both. Every text that leaves here is
redacted: no key, no phone number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from callkeeper_assets.alerts.findings import Finding, Kind
from callkeeper_assets.alerts.plans import Change, State
from callkeeper_assets.alerts.settings import Language
from callkeeper_assets.local_time import show_moment
from callkeeper_assets.privacy.redaction import excerpt

# Telegram takes 4,096 letters of a message, some of which it has written longer.
_MOST_LETTERS: Final = 3_000
_LONGEST: Final = 480


class Wording(NamedTuple):
    """What is wrong, what to do, and how it is said that it is over; with places for values."""

    text: str
    remedy: str
    over: str


@dataclass(frozen=True)
class Told:
    """A finding in words."""

    text: str
    remedy: str


_ENGLISH: Final[Mapping[Kind, Wording]] = {
    "run_failed": Wording(
        "{job}: {runs} failed run(s), none has succeeded since. {reason}",
        "See the run in Dagster's UI ({run_id}); then run it again: {again}",
        "{job}: it has succeeded since, its days are loaded, or it has not failed for a week",
    ),
    "load_failed": Wording(
        "{subject}: the last load failed, at {day}. {reason}",
        "Do what the reason says, then: callkeeper refresh {subject}",
        "{subject}: a load has succeeded since, or it is a week ago",
    ),
    "check_failed": Wording(
        "{source}, {table}: the check {check} fails for {days} day(s), the last {last_day}. "
        "{reason}",
        "Do what the check says; a load of the day evaluates it again.",
        "{source}, {table}: the check {check} passes",
    ),
    "not_fresh": Wording(
        "{subject}: days after {newest}, the newest that is loaded, are due since {since}.",
        "Start callkeeper dev, or up, if it does not run; else see why the last runs failed, or "
        "whether the schedule {schedule} is stopped. At once: callkeeper refresh {subject}",
        "{subject}: the newest day is loaded",
    ),
    "webhooks_lost": Wording(
        "{subject}: {lost} webhooks that CallKeeper sent are lost, {refused} more were refused "
        "and came another time.",
        "The table callkeeper_lost_webhooks names them; callkeeper check {subject} prints the "
        "right URL. Their calls come by the refresh.",
        "{subject}: no webhook was found lost for two days",
    ),
    "webhooks_waiting": Wording(
        "{subject}: {count} webhooks wait to be processed, the oldest since {since}.",
        "See why the runs of the inbox fail, or whether the sensor is stopped; at once: "
        "callkeeper inbox --process",
        "{subject}: its webhooks are processed",
    ),
    "receiver_spooling": Wording(
        "{count} webhooks wait in {subject}: they are not in the database.",
        "The receiver cannot reach the database, or does not run: see its log. They move into the "
        "database by themselves.",
        "no webhook waits in {subject}",
    ),
    "key_missing": Wording(
        "{subject}: {variable} is not set, so it has no API key.",
        "Set it, and start the services again.",
        "{subject}: the key is set",
    ),
    "key_refused": Wording(
        "{subject}: CallKeeper refuses the key. {reason}",
        "Correct {variable}, start the services again, then: callkeeper check {subject}",
        "{subject}: CallKeeper takes the key",
    ),
    "key_expires": Wording(
        "{subject}: the account is paid until {until}.",
        "Pay it: without that, the API refuses the key.",
        "{subject}: the account is paid for longer",
    ),
    "source_refused": Wording(
        "{subject}: its configuration is refused, nothing of it is loaded. {problems}",
        "Correct its defs.yaml, then: callkeeper check {subject}",
        "{subject}: its configuration is taken",
    ),
    "disk_full": Wording(
        "The disk of {subject} has {free_mb} MB free ({percent} %).",
        "Free space: raw calls, logs and the embedded database grow there.",
        "the disk of {subject} has space again",
    ),
    "connections_low": Wording(
        "The database has {used} of {most} connections in use.",
        "See who has them (pg_stat_activity); end idle ones, or raise max_connections.",
        "the database has connections to spare",
    ),
    "daemon_away": Wording(
        "Dagster's daemon has given no sign of life since {since}: no schedule and no sensor runs.",
        "Start it: callkeeper dev. Its log is in the home, logs/dev/daemon.log.",
        "Dagster's daemon runs",
    ),
    "database_away": Wording(
        "The database cannot be used. {reason}",
        "Bring it back. Webhooks wait in the spool meanwhile ({spooled} now); loads fail.",
        "the database can be used again",
    ),
}

_RUSSIAN: Final[Mapping[Kind, Wording]] = {
    "run_failed": Wording(
        "{job}: неудачных запусков {runs}, успешного после них нет. {reason}",
        "Посмотрите запуск в интерфейсе Dagster ({run_id}) и повторите его: {again}",
        "{job}: запуск удался, либо его дни загружены, либо неделю не было неудачных",
    ),
    "load_failed": Wording(
        "{subject}: последняя загрузка не удалась, день {day}. {reason}",
        "Устраните причину, затем: callkeeper refresh {subject}",
        "{subject}: загрузка удалась, либо прошла неделя",
    ),
    "check_failed": Wording(
        "{source}, {table}: проверка {check} не проходит, дней: {days}, последний {last_day}. "
        "{reason}",
        "Сделайте то, что говорит проверка; загрузка дня выполнит её снова.",
        "{source}, {table}: проверка {check} проходит",
    ),
    "not_fresh": Wording(
        "{subject}: последний загруженный день {newest}, более новые ожидаются с {since}.",
        "Запустите callkeeper dev или up, если они не работают; иначе посмотрите, почему запуски "
        "не удались и не остановлено ли расписание {schedule}. Сразу: callkeeper refresh {subject}",
        "{subject}: последний день загружен",
    ),
    "webhooks_lost": Wording(
        "{subject}: потеряно вебхуков, отправленных CallKeeper: {lost}; ещё {refused} отклонены, "
        "но пришли в другой раз.",
        "Они перечислены в таблице callkeeper_lost_webhooks; верный адрес покажет callkeeper check "
        "{subject}. Сами звонки придут с обновлением.",
        "{subject}: два дня потерянных вебхуков не находилось",
    ),
    "webhooks_waiting": Wording(
        "{subject}: ждут обработки вебхуки, {count}, самый старый с {since}.",
        "Посмотрите, почему их запуски неудачны и не остановлен ли сенсор; сразу: callkeeper inbox "
        "--process",
        "{subject}: вебхуки обработаны",
    ),
    "receiver_spooling": Wording(
        "В {subject} ждут вебхуки, {count}: в базе данных их нет.",
        "Приёмник не может подключиться к базе или не запущен: смотрите его журнал. В базу они "
        "попадут сами.",
        "в {subject} вебхуки больше не ждут",
    ),
    "key_missing": Wording(
        "{subject}: переменная {variable} не задана, ключа API нет.",
        "Задайте её и перезапустите службы.",
        "{subject}: ключ задан",
    ),
    "key_refused": Wording(
        "{subject}: CallKeeper не принимает ключ. {reason}",
        "Исправьте {variable}, перезапустите службы, затем: callkeeper check {subject}",
        "{subject}: CallKeeper принимает ключ",
    ),
    "key_expires": Wording(
        "{subject}: аккаунт оплачен до {until}.",
        "Оплатите его, иначе API перестанет принимать ключ.",
        "{subject}: аккаунт оплачен на больший срок",
    ),
    "source_refused": Wording(
        "{subject}: настройки не приняты, источник не загружается. {problems}",
        "Исправьте его defs.yaml, затем: callkeeper check {subject}",
        "{subject}: настройки приняты",
    ),
    "disk_full": Wording(
        "На диске {subject} свободно {free_mb} МБ ({percent} %).",
        "Освободите место: там растут исходные звонки, журналы и встроенная база.",
        "на диске {subject} снова есть место",
    ),
    "connections_low": Wording(
        "В базе данных занято {used} подключений из {most}.",
        "Посмотрите, кем (pg_stat_activity); закройте простаивающие или увеличьте max_connections.",
        "в базе данных есть свободные подключения",
    ),
    "daemon_away": Wording(
        "Демон Dagster не подаёт признаков жизни с {since}: расписания и сенсоры не работают.",
        "Запустите его: callkeeper dev. Журнал: logs/dev/daemon.log в домашней папке.",
        "демон Dagster работает",
    ),
    "database_away": Wording(
        "База данных недоступна. {reason}",
        "Верните её. Вебхуки пока ждут на диске (сейчас {spooled}), загрузки не удаются.",
        "база данных снова доступна",
    ),
}
_WORDINGS: Final = {"en": _ENGLISH, "ru": _RUSSIAN}

# Of a message: its title, by the states in it; marks of lines; the rest.
_MARKS: Final[Mapping[State, str]] = {"began": "✗", "lasts": "…", "ended": "✓"}
_TITLES: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "began": "CallKeeper, {machine}: {count} to look at",
        "lasts": "CallKeeper, {machine}: still {count} to look at",
        "ended": "CallKeeper, {machine}: all clear ({count})",
    },
    "ru": {
        "began": "CallKeeper, {machine}: требует внимания, {count}",
        "lasts": "CallKeeper, {machine}: всё ещё требует внимания, {count}",
        "ended": "CallKeeper, {machine}: снова в порядке, {count}",
    },
}
_MORE: Final[Mapping[Language, str]] = {
    "en": "and {count} more: callkeeper status",
    "ru": "и ещё {count}: callkeeper status",
}
_LASTS: Final[Mapping[Language, str]] = {"en": "since {since}", "ru": "с {since}"}
_OVER: Final[Mapping[Language, str]] = {"en": "Over: {text}.", "ru": "Прошло: {text}."}
_TESTS: Final[Mapping[Language, tuple[str, str]]] = {
    "en": ("CallKeeper, {machine}: a test", "Alerts of this installation arrive here."),
    "ru": ("CallKeeper, {machine}: проверка", "Сюда приходят оповещения этой установки."),
}
_AGAIN: Final[Mapping[Language, str]] = {
    "en": "(Perhaps for the second time: the process was killed while it sent this.)",
    "ru": "(Возможно, повторно: процесс был прерван во время отправки.)",
}


class Message(NamedTuple):
    """What is sent."""

    title: str
    body: str


def tell(finding: Finding, language: Language = "en") -> Told:
    """Return a finding's words, redacted."""
    wording = _WORDINGS[language][finding.kind]
    values = _fill(finding)
    text = wording.text.format_map(values).strip()
    return Told(_redact(text), _redact(wording.remedy.format_map(values)))


def tell_end(finding: Finding, language: Language) -> str:
    """Return the words for a finding that is over."""
    text = _WORDINGS[language][finding.kind].over.format_map(_fill(finding))
    return _redact(_OVER[language].format(text=text))


def compose(changes: Sequence[Change], machine: str, language: Language) -> Message:
    """Return the one message that tells all that changed at a moment."""
    states: list[State] = ["began", "lasts", "ended"]
    newest = next(state for state in states if any(one.state == state for one in changes))
    count = sum(one.state != "ended" for one in changes) or len(changes)
    title = _TITLES[language][newest].format(machine=machine, count=count)
    ordered = sorted(changes, key=lambda one: states.index(one.state))
    lines: list[str] = []
    for change in ordered:
        line = _tell_change(change, language)
        if sum(map(len, lines)) + len(line) > _MOST_LETTERS:
            lines.append(_MORE[language].format(count=len(ordered) - len(lines)))
            break
        lines.append(line)
    return Message(title, "\n\n".join(lines))


def compose_test(machine: str, language: Language) -> Message:
    """Return the message by which channels are tried."""
    title, body = _TESTS[language]
    return Message(title.format(machine=machine), body)


def remark_again(body: str, language: Language) -> str:
    """Return a message's body with the remark that it may have been sent before."""
    return f"{body}\n\n{_AGAIN[language]}"


def _tell_change(change: Change, language: Language) -> str:
    mark = _MARKS[change.state]
    if change.state == "ended":
        return f"{mark} {tell_end(change.finding, language)}"
    told = tell(change.finding, language)
    since = ""
    if change.state == "lasts":
        since = f" ({_LASTS[language].format(since=show_moment(change.since))})"
    return f"{mark} {told.text}{since}\n→ {told.remedy}"


class _Values(dict[str, object]):
    """What a text is filled with; a cause that another version noted may lack something."""

    def __missing__(self, key: str) -> str:
        return "?"


def _fill(finding: Finding) -> Mapping[str, object]:
    return _Values({"subject": finding.subject, **finding.values})


def _redact(text: str) -> str:
    return excerpt(text, _LONGEST)
