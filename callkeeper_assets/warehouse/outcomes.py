"""What became of a call, as a business asks: the one table of CallKeeper's pairs of codes.

The first code is of the leg to the manager, the second of that to the client, 0 where it was not
dialled; labels are those that the cabinet shows. Of call tracking the legs are the other way round:
the client's comes first. The facts' `outcome`, the views' where a call has no facts, and the data
dictionary are made from it. A change needs a migration that fills `outcome` anew, as 0015 does.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal, get_args

OutcomeName = Literal[
    "answered",
    "missed_by_manager",
    "missed_by_client",
    "cancelled",
    "voice_message",
    "lead_only",
    "duplicate",
    "test",
    "blocked",
    "technical",
    "in_progress",
    "unknown",
]


@dataclass(frozen=True)
class Outcome:
    """One of them.

    Attributes:
        label_ru: How a report in Russian names it.
        pairs: The codes that mean it, and the cabinet's label of each.
    """

    name: OutcomeName
    label_ru: str
    meaning: str
    pairs: tuple[tuple[int, int, str], ...]


OUTCOMES: Final = (
    Outcome(
        "answered",
        "Состоялся",
        "manager and client talked",
        ((200, 200, "Звонок прошел успешно"),),
    ),
    Outcome(
        "missed_by_manager",
        "Пропущен менеджером",
        "the manager was not reached, or hung up before the client was",
        (
            (200, 0, "Звонок клиенту не инициирован"),
            (200, 1, "Оператор не дождался соединения"),
            (403, 0, "Оператор временно недоступен"),
            (404, 0, "Оператор временно недоступен"),
            (408, 0, "Абонент не найден (менеджер)"),
            (480, 0, "Оператор временно недоступен"),
            (486, 0, "Телефон оператора занят"),
            (487, 0, "Оператор не взял трубку"),
            (603, 0, "Оператор временно недоступен"),
            (604, 0, "Оператор временно недоступен"),
        ),
    ),
    Outcome(
        "missed_by_client",
        "Пропущен клиентом",
        "the manager was there, the client was not reached",
        (
            (101, 480, "Голосовое сообщение не доставлено"),
            (101, 486, "Голосовое сообщение не доставлено"),
            (200, 401, "Ошибка на стороне клиента"),
            (200, 403, "Клиент временно недоступен"),
            (200, 404, "Неправильный номер клиента"),
            (200, 406, "Клиент недоступен"),
            (200, 408, "Абонент не найден (клиент)"),
            (200, 410, "Номер клиента не существует"),
            (200, 480, "Клиент временно недоступен"),
            (200, 484, "Неправильный номер клиента"),
            (200, 486, "Номер клиента занят"),
            (200, 487, "Клиент не взял трубку"),
            (200, 600, "Номер клиента занят"),
            (200, 603, "Клиент временно недоступен"),
            (200, 604, "Номер клиента не найден"),
        ),
    ),
    Outcome(
        "cancelled",
        "Отменён",
        "somebody cancelled it, or its chain of attempts had succeeded before",
        (
            (200, 708, "Менеджер отменил вызов"),
            (701, 0, "Ненужный звонок"),
            (702, 0, "Отменённый звонок"),
            (708, 0, "Отменён менеджером"),
        ),
    ),
    Outcome(
        "voice_message",
        "Голосовое сообщение",
        "a voice message was delivered to the client, or the call passed to voice mail",
        (
            (101, 200, "Голосовое сообщение доставлено"),
            (200, 199, "Передан на голосовую почту"),
        ),
    ),
    Outcome(
        "lead_only",
        "Только заявка",
        "request mode: the lead was taken, no call was to be made",
        ((200, 201, "Режим заявок"),),
    ),
    Outcome(
        "duplicate",
        "Дубль",
        "the client had ordered one already",
        (
            (706, 0, "Уже есть активная цепочка"),
            (813, 0, "Ненужный отложенный звонок"),
            (815, 0, "Дублирующийся звонок"),
        ),
    ),
    Outcome("test", "Тестовый", "made to try the widget", ((790, 0, "Test call"),)),
    Outcome(
        "blocked",
        "Заблокирован",
        "CallKeeper did not make it: a number that is blocked or cannot be called, an address, a "
        "widget that is off, the account's balance or limits",
        (
            (667, 0, "Блокировка по номеру телефона"),
            (668, 0, "Блокировка по IP"),
            (703, 0, "Совпадающие номера"),
            (705, 0, "Номер менеджера в блоке"),
            (709, 0, "Некорректный номер"),
            (710, 0, "Виджет отключен"),
            (718, 0, "Недопустимый номер клиента"),
            (811, 0, "Недостаточно минут на балансе"),
            (812, 0, "Оплаченный период закончился"),
            (814, 0, "Превышена максимальная стоимость звонка"),
        ),
    ),
    Outcome(
        "technical",
        "Технический сбой",
        "the telephony failed, or a limit cut the call",
        (
            (200, 400, "Некорректный запрос"),
            (200, 461, "Оператор связи запрещает вызов"),
            (200, 491, "Техническая ошибка телефонии"),
            (200, 500, "Технические неполадки у оператора"),
            (200, 502, "Технические неполадки у оператора"),
            (200, 503, "Технические неполадки у оператора"),
            (200, 504, "Технические неполадки у оператора"),
            (200, 717, "Прерван по лимиту времени"),
            (484, 0, "Ошибка оператора связи"),
            (488, 0, "Не поддерживаются кодеки SIP"),
            (491, 0, "Техническая ошибка телефонии"),
            (500, 0, "Сервер не отвечает"),
            (502, 0, "Технические неполадки оператора связи"),
            (503, 0, "Технические неполадки оператора связи"),
            (504, 0, "Сервер не отвечает"),
            (704, 0, "Технически отменено"),
            (720, 0, "Неизвестная ошибка оператора связи"),
        ),
    ),
    Outcome(
        "in_progress",
        "Не завершён",
        "it goes on, is planned, or waits for the telephone company's word",
        (
            (1, 0, "Звонок происходит прямо сейчас"),
            (2, 0, "Запланирован на"),
            (707, 0, "Проблема оператора связи"),
        ),
    ),
    Outcome(
        "unknown",
        "Неизвестно",
        "no code came, or a pair that this table does not have",
        (),
    ),
)
_IN_CALL_TRACKING: Final[dict[OutcomeName, OutcomeName]] = {
    "missed_by_manager": "missed_by_client",
    "missed_by_client": "missed_by_manager",
}
OUTCOME_NAMES: Final[tuple[OutcomeName, ...]] = get_args(OutcomeName)


def outcome_of(code: int | None, code2: int | None, service: str | None = None) -> OutcomeName:
    """Return the outcome of a pair of codes; a missing second one is 0, as SQL has it."""
    for outcome in OUTCOMES:
        if (code, code2 or 0) in {(first, second) for first, second, _ in outcome.pairs}:
            is_turned = service == "calltracking"
            return _IN_CALL_TRACKING.get(outcome.name, outcome.name) if is_turned else outcome.name
    return "unknown"


def build_outcome_sql(row: str = "c.", *, is_russian: bool = False) -> str:
    """Build the SQL expression of a call's outcome, for PostgreSQL and DuckDB.

    A call without codes has what its status says.

    Args:
        row: What stands before the names of columns of callkeeper_calls.
        is_russian: Gives the labels.
    """
    texts = {one.name: one.label_ru if is_russian else one.name for one in OUTCOMES}
    lines = ["CASE"]
    for outcome in OUTCOMES:
        condition = _match(outcome, row)
        if not condition:
            continue
        text = f"'{texts[outcome.name]}'"
        if turned := _IN_CALL_TRACKING.get(outcome.name):
            text = f"CASE WHEN {row}service = 'calltracking' THEN '{texts[turned]}' ELSE {text} END"
        lines.append(f"WHEN {condition} THEN {text}")
    lines.append(
        f"WHEN {row}status_code IS NULL AND {row}status = 'success' THEN '{texts['answered']}'"
    )
    lines.append(f"WHEN NOT {row}is_final THEN '{texts['in_progress']}'")
    lines.append(f"ELSE '{texts['unknown']}' END")
    return "\n        ".join(lines)


def _match(outcome: Outcome, row: str) -> str:
    """Build the condition that a row's codes are one of an outcome's pairs."""
    first_only = [code for code, code2, _ in outcome.pairs if code2 == 0]
    both = [(code, code2) for code, code2, _ in outcome.pairs if code2]
    parts = []
    if first_only:
        codes = _among(first_only)
        parts.append(f"coalesce({row}status2_code, 0) = 0 AND {row}status_code {codes}")
    for code, pairs in groupby(both, key=lambda pair: pair[0]):
        second = _among([code2 for _, code2 in pairs])
        parts.append(f"{row}status_code = {code} AND {row}status2_code {second}")
    return " OR ".join(parts)


def _among(codes: list[int]) -> str:
    return f"= {codes[0]}" if len(codes) == 1 else f"IN ({', '.join(map(str, codes))})"
