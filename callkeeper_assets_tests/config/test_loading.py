"""Sources from files: what a short file means, and in which words a wrong one is refused."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from textwrap import dedent, indent
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.config.errors import (
    InvalidSourceError,
    MissingFolderError,
    MissingSecretError,
)
from callkeeper_assets.config.loading import load_source_file, load_sources
from callkeeper_assets.config.source import Reconciliation, Refresh, Webhook
from callkeeper_assets.home import project_root
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES

HEAD = "type: callkeeper_assets.CallKeeperSource\nattributes:\n  api_key: {env: OFFICE_KEY}\n"
KEY = "a0b1c2d3e4f5a0b1c2d3e4f5a0b1c2d3"
NOW = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)

WriteSource = Callable[..., Path]


@pytest.fixture
def write_source(tmp_path: Path) -> WriteSource:
    """Writes a defs.yaml; the text is put below `HEAD`, as more of its attributes."""

    def write(text: str = "", *, name: str = "office", head: str = HEAD) -> Path:
        file = tmp_path / name / "defs.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(head + indent(dedent(text), "  "), encoding="utf-8")
        return file

    return write


def refusal(file: Path) -> list[str]:
    """The lines of the refusal, without the file's path: `4: tables[0]: …`."""
    with pytest.raises(InvalidSourceError) as caught:
        load_source_file(file, NOW)
    assert caught.value.file == file
    return [problem.removeprefix(f"{file}:") for problem in caught.value.problems]


def test_a_source_with_a_key_alone_has_the_documented_defaults(write_source: WriteSource) -> None:
    source = load_source_file(write_source(), NOW)
    assert (source.name, source.caption, source.api_key_env) == ("office", "office", "OFFICE_KEY")
    assert (source.api, source.base_url) == ("callkeeper", "https://api.callkeeper.ru")
    assert source.time_zone == ZoneInfo("Europe/Moscow")
    assert source.start_date == date(2025, 1, 1)
    assert source.history_days is None
    assert source.tables == SELECTABLE_TABLES
    assert source.filters == {}
    assert source.refresh == Refresh(cron="0 5 * * *", overlap_days=3)
    assert source.owners == ("team:data",)
    assert (source.max_lost_share, source.parallel_days) == (0.3, 4)
    assert source.webhook is None
    assert source.reconciliation == Reconciliation(cron="0 6 * * 0", days=30, heal=True)


def test_every_attribute_of_the_interface_is_taken_over(write_source: WriteSource) -> None:
    source = load_source_file(
        write_source("""\
              caption: Main office
              api: callkeeper
              base_url: http://127.0.0.1:8080/
              time_zone: Asia/Yekaterinburg
              start_date: 2026-01-01
              history_days: 31
              tables: [callkeeper_calls_facts, callkeeper_calls, general_dates, general_traffic]
              filters:
                callkeeper_calls_facts:
                  - {field: duration_sec, op: ge, value: 10}
              refresh: {cron: "15 4 * * mon-fri", overlap_days: 0}
              webhook:
                token: {env: OFFICE_WEBHOOK_TOKEN}
                fields: {call_id: my_id, phone2: client_number}
                grace_hours: 12
              reconciliation: {cron: "0 7 * * 1", days: 7, heal: false}
              owners: ["team:data", anna@example.com]
              max_lost_share: 0.5
              parallel_days: 2
            """),
        NOW,
    )
    assert source.caption == "Main office"
    assert source.base_url == "http://127.0.0.1:8080"
    assert source.time_zone == ZoneInfo("Asia/Yekaterinburg")
    assert (source.start_date, source.history_days) == (date(2026, 1, 1), 31)
    assert source.tables == (
        "general_dates",
        "general_traffic",
        "callkeeper_calls",
        "callkeeper_calls_facts",
    ), "in the warehouse's order"
    assert source.filters == {
        "callkeeper_calls_facts": (Filter(field="duration_sec", op="ge", value=10),)
    }
    assert source.refresh == Refresh(cron="15 4 * * mon-fri", overlap_days=0)
    assert source.webhook == Webhook(
        token_env="OFFICE_WEBHOOK_TOKEN",
        fields={"id": "my_id", "phone2": "client_number"},
        grace=timedelta(hours=12),
    )
    assert source.reconciliation == Reconciliation(cron="0 7 * * 1", days=7, heal=False)
    assert source.owners == ("team:data", "anna@example.com")
    assert (source.max_lost_share, source.parallel_days) == (0.5, 2)


@pytest.mark.parametrize("value", ["none", "null", "~", ""])
def test_unlimited_history_can_be_written_out(write_source: WriteSource, value: str) -> None:
    assert load_source_file(write_source(f"  history_days: {value}\n"), NOW).history_days is None


def test_days_are_those_of_the_source_and_not_of_the_machine(write_source: WriteSource) -> None:
    source = load_source_file(write_source("  start_date: 2026-04-01\n  history_days: 31\n"), NOW)
    today = source.today(NOW)
    assert today == date(2026, 4, 1), "April in Moscow, March in UTC; else start_date is refused"
    assert source.first_day(today) == date(2026, 4, 1)
    assert source.first_day(date(2026, 12, 31)) == date(2026, 11, 30)


ALLOWED_TABLES = ", ".join(sorted(SELECTABLE_TABLES))
ALLOWED_ATTRIBUTES = (
    "api, api_key, base_url, caption, check_answers_from, filters, group_name, history_days, "
    "key_prefix, max_lost_share, "
    "owners, parallel_days, privacy, reconciliation, refresh, reports, retention, role, "
    "start_date, tables, time_zone, translation, webhook"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "captoin: x",
            (
                "captoin: there is no attribute 'captoin'. Did you mean 'caption'? "
                f"Allowed: {ALLOWED_ATTRIBUTES}."
            ),
        ),
        ("caption: no", "caption: must be text; in quotes if it looks like a number, a date or"),
        ("caption: ' '", "caption: is empty."),
        (
            "api: calkeeper",
            "api: there is no api 'calkeeper'. Did you mean 'callkeeper'? Allowed: callkeeper, ck",
        ),
        (
            "role: owned",
            "role: there is no role 'owned'. Did you mean 'own'? Allowed: by_role, own, with_role.",
        ),
        (
            "role: by_role",
            "role: 'by_role' means nothing to api: callkeeper, which knows no roles: remove it, or",
        ),
        ("base_url: api.callkeeper.ru", "base_url: must be an address such as https://api.c"),
        ("base_url: ftp://api.callkeeper.ru", "base_url: must be an address such as https://"),
        ("base_url: http://x:port", "base_url: must be an address such as https://api.callkeeper"),
        ("base_url: 'http://u:p@x'", "base_url: must be scheme, host and path alone, without use"),
        (
            "time_zone: Moscow",
            (
                "time_zone: there is no time zone 'Moscow'. Did you mean 'Europe/Moscow'? "
                "Allowed: names of the IANA list, such as Europe/Moscow."
            ),
        ),
        ("time_zone: MSK", "time_zone: there is no time zone 'MSK'. Did you mean 'Europe/Moscow'?"),
        (
            "time_zone: Moskva",
            "time_zone: there is no time zone 'Moskva'. Did you mean 'Europe/Moscow'?",
        ),
        (
            "time_zone: UTC+5",
            "time_zone: there is no time zone 'UTC+5'. Did you mean 'Asia/Yekaterinburg'?",
        ),
        # They are in the system's folder: another zone on each machine, a name that the next lacks.
        ("time_zone: localtime", "time_zone: there is no time zone 'localtime'."),
        ("time_zone: posixrules", "time_zone: there is no time zone 'posixrules'."),
        ("time_zone: Factory", "time_zone: there is no time zone 'Factory'."),
        (
            "time_zone: posix/Europe/Moscow",
            "time_zone: there is no time zone 'posix/Europe/Moscow'",
        ),
        ("time_zone: right/UTC", "time_zone: there is no time zone 'right/UTC'."),
        ("start_date: 01.02.2026", "start_date: must be a day of the calendar, written 2026-01-3"),
        ("start_date: 20260201", "start_date: must be text; in quotes if it looks like a number"),
        ("start_date: 2026-02-30", "start_date: must be a day of the calendar, written 2026-01-3"),
        ("start_date: 0206-02-03", "start_date: must be 2010-01-01 or later: CallKeeper has no"),
        (
            "start_date: 2026-04-02",
            "start_date: 2026-04-02 is in the future; today is 2026-04-01 in Europe/Moscow.",
        ),
        ("history_days: 0", "history_days: must be at least 1."),
        ("history_days: '31'", "history_days: must be a whole number."),
        ("history_days: yes", "history_days: must be a whole number."),
        (
            "reconciliation: {heal: sometimes}",
            "reconciliation.heal: must be true or false.",
        ),
        ("tables: []", "tables: is empty: choose at least one, or leave it out for the default."),
        ("tables: callkeeper_calls", "tables: must be a list."),
        (
            "tables: [general_date]",
            (
                "tables[0]: there is no table 'general_date'. Did you mean 'general_dates'? "
                f"Allowed: {ALLOWED_TABLES}."
            ),
        ),
        (
            "tables: [callkeeper_loads]",
            (
                "tables[0]: there is no table 'callkeeper_loads'. Did you mean "
                f"'callkeeper_calls'? Allowed: {ALLOWED_TABLES}."
            ),
        ),
        (
            "tables: [general_dates, general_sites, general_dates]",
            "tables[2]: 'general_dates' is chosen twice: keep one.",
        ),
        (
            "tables: [general_sites, callkeeper_calls_facts]",
            (
                "tables[1]: 'callkeeper_calls_facts' cannot be loaded without callkeeper_calls and "
                "general_dates: add to tables, or leave 'callkeeper_calls_facts' out."
            ),
        ),
        ("filters: [callkeeper_calls]", "filters: must be a mapping of names to values."),
        (
            "filters: {calkeeper_calls: []}",
            (
                "filters.calkeeper_calls: there is no table 'calkeeper_calls'. Did you mean "
                f"'callkeeper_calls'? Allowed: {ALLOWED_TABLES}."
            ),
        ),
        (
            "filters: {callkeeper_calls: [{field: status, op: equals, value: x}]}",
            "filters.callkeeper_calls[0].op: there is no op 'equals'. Allowed: contains, eq, ge,",
        ),
        (
            "filters: {callkeeper_calls: [{op: is_null}]}",
            "filters.callkeeper_calls[0].field: is required and missing.",
        ),
        ("refresh: {cron: '0 5 * *'}", "refresh.cron: '0 5 * *' has 4 fields; a cron expression"),
        ("refresh: {cron: '0 24 * * *'}", "refresh.cron: '24', the hour of '0 24 * * *', is im"),
        ("refresh: {cron: '0 5 31 2,4 *'}", "refresh.cron: '0 5 31 2,4 *' is never due: none of"),
        ("refresh: {overlap_days: -1}", "refresh.overlap_days: must be at least 0."),
        ("refresh: {overlap_days: 3000}", "refresh.overlap_days: must be at most 366."),
        (
            "refresh: {corn: x}",
            (
                "refresh.corn: there is no attribute 'corn'. Did you mean 'cron'? "
                "Allowed: cron, overlap_days, settle_after_days."
            ),
        ),
        (
            "webhook: {}",
            (
                "webhook.token: must name the environment variable that holds the token, never a "
                "token itself: token: {env: OFFICE_WEBHOOK_TOKEN}."
            ),
        ),
        ("webhook: {token: {env: T}, grace_hours: -1}", "webhook.grace_hours: must be at least 0."),
        (
            "webhook: {token: {env: T}, fields: {cal_id: x}}",
            "webhook.fields.cal_id: there is no field 'cal_id'. Did you mean 'call_id'? Allowed: ",
        ),
        (
            "webhook: {token: {env: T}, fields: {call_id: ' '}}",
            "webhook.fields.call_id: is empty.",
        ),
        ("webhook: {tokn: x, token: {env: T}}", "webhook.tokn: there is no attribute 'tokn'. Did"),
        ("reconciliation: {cron: '0 6 * *'}", "reconciliation.cron: '0 6 * *' has 4 fields; a cr"),
        ("reconciliation: {days: 0}", "reconciliation.days: must be at least 1."),
        ("owners: [data]", "owners[0]: must be team:<name> or an e-mail address."),
        ("max_lost_share: 30", "max_lost_share: must be at most 1."),
        ("parallel_days: 0", "parallel_days: must be at least 1."),
        (
            "privacy: {phones: hide}",
            "privacy.phones: there is no phones 'hide'. Allowed: hash, keep, mask.",
        ),
        ("privacy: {ips: hash}", "privacy.ips: there is no ips 'hash'. Allowed: drop, keep, mask."),
        (
            "privacy: {phones: hash}",
            "privacy.phones: hash needs a key: add key: {env: OFFICE_PRIVACY_KEY}, and set that",
        ),
        (
            "privacy: {phones: mask, key: {env: K}}",
            "privacy.key: is for phones: hash, and nothing is hashed: remove it, or write",
        ),
        (
            "privacy: {phones: hash, key: 0123456789abcdef0123456789abcdef}",
            "privacy.key: must name the environment variable that holds the key, never a key",
        ),
        ("retention: {}", "retention.keep_days: is required and missing."),
        ("retention: {keep_days: 0}", "retention.keep_days: must be at least 1."),
        ("retention: {keep_days: 9, cron: daily}", "retention.cron: "),
        ("api_key: {env: B}", "api_key: is written twice, first on line 3: keep one."),
    ],
)
def test_a_mistake_is_named_by_line_with_what_is_allowed(
    write_source: WriteSource, text: str, expected: str
) -> None:
    (problem,) = refusal(write_source(f"{text}\n"))
    assert problem.startswith(f"4: {expected}"), problem


@pytest.mark.parametrize(
    "number", ["12345678901234567.0", "-1234567890.1234567", "1.000000000000000"]
)
def test_a_fraction_of_more_digits_than_it_keeps_is_refused(
    write_source: WriteSource, number: str
) -> None:
    """An id that it would be compared with may be its neighbour's."""
    text = f"filters: {{callkeeper_calls: [{{field: call_id, op: eq, value: {number}}}]}}"
    (problem,) = refusal(write_source(f"{text}\n"))
    assert "filters.callkeeper_calls[0].value: has more digits than a number" in problem


@pytest.mark.parametrize("number", ["0755", "2:30", "1_000", "0x1F", "-012", "1:30.5", "0b11"])
def test_a_number_that_yaml_reads_as_another_one_is_refused(
    write_source: WriteSource, number: str
) -> None:
    text = (
        f"filters: {{callkeeper_calls: [{{field: roistat_visit, op: in, value: [a, {number}]}}]}}"
    )
    (problem,) = refusal(write_source(f"{text}\n"))
    assert problem == (
        f"4: filters.callkeeper_calls[0].value[1]: YAML reads {number} as another number: put it "
        "in quotes if it is a text, else write it in plain digits."
    )


@pytest.mark.parametrize("number", ["0", "-7", "0.5", "1.50", "+3", "'0755'", '"2:30"', "1e3"])
def test_a_number_as_people_write_it_is_one(write_source: WriteSource, number: str) -> None:
    text = f"filters: {{callkeeper_calls: [{{field: roistat_visit, op: eq, value: {number}}}]}}"
    assert load_source_file(write_source(f"{text}\n"), NOW).filters


def test_a_filter_of_a_table_that_is_not_chosen_is_refused(write_source: WriteSource) -> None:
    file = write_source("""\
          tables: [callkeeper_calls]
          filters:
            general_sites: []
        """)
    assert refusal(file) == [
        (
            "6: filters.general_sites: 'general_sites' is not in tables: choose it there, or "
            "remove its filters."
        )
    ]


def test_a_filter_on_an_unknown_field_is_refused_with_its_line(write_source: WriteSource) -> None:
    file = write_source("""\
          filters:
            callkeeper_calls:
              - {field: status, op: eq, value: success}
              - {field: statsu, op: eq, value: success}
        """)
    (problem,) = refusal(file)
    assert problem.startswith("7: filters.callkeeper_calls[1]: ")
    assert "statsu" in problem
    assert "status" in problem


@pytest.mark.parametrize(
    "attribute",
    [
        f"api_key: {KEY}",
        "api_key: abcdefgh12345678",
        f"api_key: {{env: {KEY}}}",
        f"api_key: {{{KEY}}}",
        f"api_key: {{env: OFFICE_KEY, key: {KEY}}}",
        f"api_key: [{KEY}]",
        f"api_key: {{value: {KEY}}}",
    ],
)
def test_a_key_in_the_file_is_refused_and_never_shown(
    write_source: WriteSource, attribute: str
) -> None:
    head = f"type: callkeeper_assets.CallKeeperSource\nattributes:\n  {attribute}\n"
    (problem,) = refusal(write_source(head=head))
    assert problem == (
        "3: api_key: must name the environment variable that holds the key, never a key itself: "
        "api_key: {env: OFFICE_API_KEY}. If a key stands here, replace it in CallKeeper: files "
        "are copied."
    )


def test_a_source_without_a_key_is_reported_with_how_to_name_one(write_source: WriteSource) -> None:
    head = "type: callkeeper_assets.CallKeeperSource\nattributes:\n  caption: x\n"
    assert refusal(write_source(head=head)) == [
        (
            "2: api_key: must name the environment variable that holds the key, never a key "
            "itself: api_key: {env: OFFICE_API_KEY}."
        )
    ]


def test_all_mistakes_of_a_file_are_reported_at_once_in_their_order(
    write_source: WriteSource,
) -> None:
    file = write_source("""\
          captoin: x
          time_zone: Nowhere
          start_date: 2027-01-01
          tables:
            - callkeeper_calls_facts
            - general_dates
          filters:
            general_dates:
              - {field: year, op: near}
            general_traffic: []
          refresh: {cron: daily}
          retention: {}
        """)
    assert [problem.split(": ")[:2] for problem in refusal(file)] == [
        ["4", "captoin"],
        ["5", "time_zone"],
        ["6", "start_date"],
        ["8", "tables[0]"],
        ["12", "filters.general_dates[0].op"],
        ["14", "refresh.cron"],
        ["15", "retention.keep_days"],
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: the file is empty: `type` and `attributes` go in."),
        ("# nothing\n", "1: the file is empty: `type` and `attributes` go in."),
        ("- a\n", "1: must be a mapping with type and attributes: type: callkeeper_assets.CallKe"),
        ("type: callkeeper_assets.CallKeeperSource\n", "1: attributes: must be a mapping, at the"),
        ("attributes: {api_key: {env: K}}\n", "1: type is missing: type: callkeeper_assets.CallK"),
        (
            "type: dagster.FunctionComponent\nattributes: {api_key: {env: K}}\n",
            "1: type: only sources are loaded from here. Allowed: callkeeper_assets.CallKeeperSo",
        ),
        (f"{HEAD}attribute: 1\n", "4: attribute: there is no key 'attribute'. Did you mean 'attri"),
        (f"{HEAD}  caption: 'x\n", "4: this is not YAML: the quote ' that is opened here is not"),
        (
            f'{HEAD}  caption: "Main\n  refresh: {{cron: "0 5 * * *"}}\n',
            '4: this is not YAML: the quote " that is opened here is not closed on its line.',
        ),
        (f"{HEAD}\tcaption: x\n", "4: this is not YAML: the line is indented by a tab"),
        (f"{HEAD}  caption: x\n  tables:\n  \t- general_dates\n", "6: this is not YAML: the line"),
        (f"{HEAD}  tables: [a, b\n  caption: x\n", "4: this is not YAML: the [ that is opened"),
        (f"{HEAD}  caption: Office: main\n", "4: this is not YAML: a ':' stands where none can"),
        (f"{HEAD}  caption: @home\n", "4: this is not YAML: a text that begins with @ has to"),
        (f"{HEAD} caption: x\n", "4: this is not YAML: the line is indented otherwise"),
        (f"{HEAD}---\n{HEAD}", "4: this is not YAML: but found another document."),
        (f"{HEAD}  caption: \x07\n", "1: this is not YAML: "),
        (f"{HEAD}  filters: &a {{callkeeper_calls: *a}}\n", "4: filters.callkeeper_calls: must be"),
    ],
)
def test_a_file_that_is_no_source_is_refused(
    write_source: WriteSource, text: str, expected: str
) -> None:
    problems = refusal(write_source(head=text))
    assert problems[0].startswith(expected), problems


def test_a_file_that_is_not_utf_8_is_refused(write_source: WriteSource) -> None:
    file = write_source()
    file.write_bytes(b"type: \xff\n")
    assert refusal(file) == ["1: the file is not UTF-8 (byte 6): save it as UTF-8."]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Main Office", "main_office"),
        ("2nd-office", "source_2nd_office"),
        ("Офис", "source"),
        ("x" * 61, "x" * 60),
    ],
)
def test_a_folder_whose_name_no_source_can_have_is_refused(
    write_source: WriteSource, name: str, suggestion: str
) -> None:
    (problem,) = refusal(write_source(name=name))
    assert problem.startswith(f"1: the folder's name '{name}' is the source's name: a lower-case")
    assert problem.endswith(f"for example to '{suggestion}'.")


def test_a_broken_source_takes_no_other_away(tmp_path: Path, write_source: WriteSource) -> None:
    write_source(name="b")
    broken = write_source("  retention: {}\n", name="a")
    write_source(name="c")
    sources, refused = load_sources(tmp_path)
    assert [source.name for source in sources] == ["b", "c"]
    assert [(one.name, one.file) for one in refused] == [("a", broken)]
    (problem,) = refused[0].problems
    assert problem.startswith(f"{broken}:4: retention.keep_days: is required and missing.")


def test_a_file_that_would_be_passed_over_in_silence_is_reported(
    tmp_path: Path, write_source: WriteSource
) -> None:
    write_source(name="clients/office")
    other = tmp_path / "shop" / "defs.yml"
    other.parent.mkdir()
    other.write_text(HEAD, encoding="utf-8")
    sources, refused = load_sources(tmp_path)
    assert sources == []
    assert [one.problems[0].split(":1: ")[1] for one in refused] == [
        f"is not read: a source's folder lies directly in {tmp_path}.",
        "is not read: rename it to defs.yaml.",
    ]


def test_a_name_is_refused_once_however_many_files_it_has(
    tmp_path: Path, write_source: WriteSource
) -> None:
    write_source("  retention: {}\n", name="office")
    write_source(name="clients/office")
    _, refused = load_sources(tmp_path)
    assert [(one.name, len(one.problems)) for one in refused] == [("office", 2)]


def test_a_folder_mounted_by_kubernetes_is_read_through_its_links(
    tmp_path: Path, write_source: WriteSource
) -> None:
    file = write_source(name="..2026_01_01")
    (tmp_path / "..data").symlink_to(file.parent)
    folder = tmp_path / "defs" / "office"
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "..data")
    (tmp_path / "defs" / "..data").symlink_to(file.parent)
    sources, refused = load_sources(tmp_path / "defs")
    assert [source.name for source in sources] == ["office"]
    assert refused == []


def test_callkeeper_defs_names_the_folder_that_is_loaded(
    tmp_path: Path, write_source: WriteSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source()
    monkeypatch.setenv("CALLKEEPER_DEFS", str(tmp_path))
    sources, refused = load_sources()
    assert [source.name for source in sources] == ["office"]
    assert refused == []


def test_a_missing_callkeeper_defs_is_an_error_and_not_an_empty_project(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CALLKEEPER_DEFS", "no/such/folder")
    with pytest.raises(MissingFolderError) as caught:
        load_sources()
    assert f"There is no folder {project_root() / 'no/such/folder'}, which CALLKEEPER_DEFS" in str(
        caught.value
    )


def test_the_key_is_read_when_it_is_used(
    write_source: WriteSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = load_source_file(write_source(), NOW)
    monkeypatch.setenv("OFFICE_KEY", f"{KEY}\n")
    assert source.read_api_key() == KEY


@pytest.mark.parametrize("value", [None, "", " "])
def test_a_missing_secret_says_which_variable_to_set(
    write_source: WriteSource, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    file = write_source()
    source = load_source_file(file, NOW)
    monkeypatch.delenv("OFFICE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("OFFICE_KEY", value)
    with pytest.raises(MissingSecretError) as caught:
        source.read_api_key()
    assert str(caught.value) == (
        "Source 'office' has no API key: the environment variable OFFICE_KEY, which api_key names "
        f"in {file}, is not set. Set OFFICE_KEY to the account's API key where Dagster is started, "
        "or in the file .env beside pyproject.toml, and start again."
    )


def test_a_source_whose_webhook_token_is_not_set_says_so_when_it_is_used(
    write_source: WriteSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_source("webhook: {token: {env: OFFICE_TOKEN}}\n")
    source = load_source_file(file, NOW)
    monkeypatch.delenv("OFFICE_TOKEN", raising=False)
    with pytest.raises(MissingSecretError) as caught:
        source.read_webhook_token()
    assert str(caught.value).startswith(
        "Source 'office' has no webhook token: the environment variable OFFICE_TOKEN, which "
        f"webhook.token names in {file}, is not set. Set OFFICE_TOKEN to a long random text"
    )
    monkeypatch.setenv("OFFICE_TOKEN", "s3cret")
    assert source.read_webhook_token() == "s3cret"


@pytest.mark.parametrize(
    "token",
    [
        "3nvT0k3nValue",
        "{env: 0a1b2c3d4e5f60718293a4b5c6d7e8f9}",
        "{env: a0a1b2c3d4e5f60718293a4b5c6d7e8f9a1b2c3d4e5f60718}",
        # What secrets.token_urlsafe(24) prints as often as not: a variable could be called so.
        "{env: Zq3_hX9vLm2TtRw8YbN4kPcD7sGfAeUj}",
    ],
)
def test_a_webhook_token_in_the_file_is_refused_and_never_repeated(
    write_source: WriteSource, token: str
) -> None:
    (problem,) = refusal(write_source(f"webhook: {{token: {token}}}\n"))
    assert problem.startswith("4: webhook.token: must name the environment variable that holds")
    assert "make a new one" in problem
    assert token.strip("{}").removeprefix("env: ") not in problem


def test_privacy_is_kept_unless_asked_for_and_managers_follow_clients(
    write_source: WriteSource,
) -> None:
    rule = load_source_file(
        write_source("privacy: {phones: mask, ips: drop}\n")
    ).read_privacy_rule()
    assert (rule.phones, rule.manager_phones, rule.ips) == ("mask", "mask", "drop")


def test_the_companys_numbers_can_be_kept(write_source: WriteSource) -> None:
    own = load_source_file(write_source("privacy: {phones: mask, manager_phones: keep}\n"))
    assert own.read_privacy_rule().manager_phones == "keep"


def test_a_source_whose_hashing_key_is_not_set_says_so_when_it_is_used(
    write_source: WriteSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = load_source_file(write_source("privacy: {phones: hash, key: {env: OFFICE_KEY}}\n"))
    with pytest.raises(MissingSecretError, match="has no key for hashing phone numbers"):
        source.read_privacy_rule()
    monkeypatch.setenv("OFFICE_KEY", "long and random")
    rule = source.read_privacy_rule()
    assert rule.key == b"long and random"
    assert "random" not in f"{rule} {rule.setting}"
