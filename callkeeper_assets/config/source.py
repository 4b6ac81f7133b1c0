"""A source: one CallKeeper account as configured, checked and complete.

Every default is filled in and every reference resolved: who holds a `Source` need not check
anything again. Only its secrets are not here, they are read when they are used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from callkeeper_assets.callkeeper.records import CHECK_ANSWERS_FROM, ApiName, CallRole
from callkeeper_assets.config.errors import MissingSecretError, SecretAttribute
from callkeeper_assets.home import UnreadableSecretError, read_secret
from callkeeper_assets.language import tr
from callkeeper_assets.local_time import day_start, find_day
from callkeeper_assets.privacy.rule import KEEP_ALL, Rule
from callkeeper_assets.reports.definition import Report
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.records import Account


@dataclass(frozen=True)
class Refresh:
    """The daily re-read of recent days.

    Args:
        cron: When, in the source's time zone.
        overlap_days: Days before today that are read again each time, today not counted.
        settle_after_days: After so many days a call that is not final counts as settled as it is.
    """

    cron: str
    overlap_days: int
    settle_after_days: int = 30


@dataclass(frozen=True)
class Webhook:
    """How a source's webhooks are taken.

    Args:
        token_env: The environment variable that holds the last part of their URL.
        fields: By path in a raw call, the name under which this account sends the value.
        grace: How long a call known only from a webhook may be missing in the API.
    """

    token_env: str
    fields: Mapping[str, str]
    grace: timedelta


@dataclass(frozen=True)
class Reconciliation:
    """The scheduled comparison of the warehouse with the source.

    Args:
        cron: When, in the source's time zone.
        days: How many days back it compares, today not counted.
        heal: Whether what differs is loaded anew.
    """

    cron: str
    days: int
    heal: bool


@dataclass(frozen=True)
class Privacy:
    """What becomes of a source's personal data.

    Args:
        rule: As configured, without its key.
        key_env: The environment variable that holds the key; empty where nothing is hashed.
    """

    rule: Rule = KEEP_ALL
    key_env: str = ""


NO_PRIVACY: Final = Privacy()


@dataclass(frozen=True)
class Retention:
    """How long calls are kept.

    Args:
        cron: When older ones are deleted, in the source's time zone.
        keep_days: Days before today that are kept, today not counted.
    """

    cron: str
    keep_days: int


@dataclass(frozen=True)
class Source:
    """One account.

    Args:
        name: Its folder's name, unique; group, asset key prefix and `--source` of commands.
        caption: Its name for people.
        api_key_env: The environment variable that holds its key.
        api: Which of CallKeeper's APIs it has.
        base_url: Of its API.
        time_zone: Decides where a day, its partition, begins and ends.
        start_date: The first day that is ever loaded.
        history_days: The plan's limit, counted back from today; None is unlimited.
        tables: What is chosen, in the order in which the warehouse declares its tables.
        filters: By chosen table; all of a table's filters must hold.
        webhook: None where the source takes none.
        reconciliation: Its comparison with the source.
        owners: As Dagster writes them: `team:<name>` or an e-mail address.
        max_lost_share: A day that would lose more than this share of its calls is not replaced.
        parallel_days: How many days are fetched side by side.
        file: Its `defs.yaml`.
        reports: Its custom reports, in the file's order.
        privacy: What becomes of its personal data; by default all of it is kept.
        retention: None where calls are kept for ever.
        role: Whose calls are asked for, where the API knows roles.
        check_answers_from: An answer of so many calls is checked once for having been cut.
        key_prefix: What its assets' keys begin with, before its name.
        group_name: The group of its assets; empty stands for its name.
        translation: What Dagster is told of its assets otherwise, as written.
        keys: By an asset's name, the path of its key, once it is translated.
        change_spec: What a translation makes of an asset of these keys, of Dagster's type.
        job_prefix: What its jobs, schedules and steps are called by before its name: nothing in a
            project of this product, so much in others' that nothing else is called so.
    """

    name: str
    caption: str
    api_key_env: str
    api: ApiName
    base_url: str
    time_zone: ZoneInfo
    start_date: date
    history_days: int | None
    tables: tuple[str, ...]
    filters: Mapping[str, tuple[Filter, ...]]
    refresh: Refresh
    webhook: Webhook | None
    reconciliation: Reconciliation
    owners: tuple[str, ...]
    max_lost_share: float
    parallel_days: int
    file: Path
    reports: tuple[Report, ...] = ()
    privacy: Privacy = NO_PRIVACY
    retention: Retention | None = None
    role: CallRole = "own"
    check_answers_from: int = CHECK_ANSWERS_FROM
    key_prefix: tuple[str, ...] = ()
    group_name: str = ""
    translation: Mapping[str, Any] | str | None = None
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    change_spec: Callable[[Any], Any] | None = field(default=None, compare=False)
    job_prefix: str = ""

    @property
    def group(self) -> str:
        """The group of its assets."""
        return self.group_name or self.name

    @property
    def stem(self) -> str:
        """What the names of its jobs, schedules and steps begin with."""
        return f"{self.job_prefix}{self.name}"

    @property
    def folder(self) -> tuple[str, ...]:
        """What the keys of its assets begin with, but for those that a translation changed."""
        return (*self.key_prefix, self.name)

    def key_path(self, *name: str) -> tuple[str, ...]:
        """Return the path of an asset's key."""
        return self.keys.get("/".join(name)) or (*self.folder, *name)

    def read_api_key(self) -> str:
        """Read the key from the environment now: a key changed there needs no new load.

        Raises:
            MissingSecretError: The variable is unset or blank.
        """
        return self._read_secret("api_key", self.api_key_env)

    def read_webhook_token(self) -> str:
        """Read the last part of the webhooks' URL from the environment.

        Raises:
            MissingSecretError: The variable is unset or blank, or the source takes no webhooks.
        """
        return self._read_secret("webhook.token", self.webhook.token_env if self.webhook else "")

    @property
    def has_webhook_audit(self) -> bool:
        """Whether its webhooks can be audited: it takes them, and its API lists those sent."""
        return self.webhook is not None and self.api == "ckct"

    @property
    def takes_hints(self) -> bool:
        """Whether its API sends the calls that webhooks of call tracking only hint at."""
        return self.has_webhook_audit

    @property
    def webhook_page(self) -> str:
        """Where the cabinet of its API takes the address for webhooks, for people."""
        if self.api == "ckct":
            return tr(
                'both lists of its webhooks, "Webhook CallKeeper" (callbacks) and "Webhook '
                'Calltracking"'
            )
        return "Profile → WebhookCall"

    def read_privacy_rule(self) -> Rule:
        """Return the rule for personal data, with its key from the environment if it hashes.

        Raises:
            MissingSecretError: The key is unset or blank.
        """
        rule = self.privacy.rule
        if not rule.hashes:
            return rule
        key = self._read_secret("privacy.key", self.privacy.key_env)
        return replace(rule, key=key.encode())

    @property
    def webhook_names(self) -> Mapping[str, str]:
        """By path in a raw call, the name under which its webhooks have the value."""
        return self.webhook.fields if self.webhook else {}

    @property
    def account(self) -> Account:
        """The source as the warehouse knows it."""
        grace = self.webhook.grace if self.webhook else None
        return Account(self.name, self.caption, self.time_zone, grace)

    def _read_secret(self, attribute: SecretAttribute, variable: str) -> str:
        unreadable = ""
        try:
            secret = read_secret(variable)
        except UnreadableSecretError as error:
            secret, unreadable = "", str(error)
        if not secret:
            raise MissingSecretError(
                source=self.name,
                attribute=attribute,
                variable=variable,
                file=self.file,
                unreadable=unreadable,
            )
        return secret

    def today(self, now: datetime | None = None) -> date:
        """The current day in the source's time zone; `now` must know its own zone."""
        return find_day(now or datetime.now(self.time_zone), self.time_zone)

    def report(self, name: str) -> Report | None:
        """Return the report of this name; None if the source has none."""
        return next((one for one in self.reports if one.name == name), None)

    def start_of(self, day: date) -> datetime:
        """The moment at which a day begins in the source's time zone, in UTC."""
        return day_start(day, self.time_zone)

    def first_kept_day(self, today: date) -> date | None:
        """The first day that retention keeps; None if it keeps all."""
        return today - timedelta(days=self.retention.keep_days) if self.retention else None

    def first_held_day(self, today: date) -> date:
        """The first day of which the tables and the raw calls may hold anything."""
        return max(self.start_date, self.first_kept_day(today) or self.start_date)

    def settled_before(self, today: date) -> date:
        """Calls of days before it that are not final are not waited for any more."""
        return today - timedelta(days=self.refresh.settle_after_days)

    def find_retention_problem(self, day: date) -> str:
        """Say why a day must not come back that retention deletes; empty if it may."""
        kept = self.first_kept_day(self.today())
        if kept is None or day >= kept:
            return ""
        return tr(
            "Source '{name}': {day} is not loaded, retention keeps days from {kept} on "
            "(retention.keep_days in {file}).",
            name=self.name,
            day=day,
            kept=kept,
            file=self.file,
        )

    def first_day(self, today: date) -> date:
        """The first day that the API still gives, and that is kept.

        A plan of 31 days gives today and the 31 days before it.
        """
        first = self.first_held_day(today)
        if self.history_days is None:
            return first
        return max(first, today - timedelta(days=self.history_days))

    def explain_first_day(self, today: date) -> str:
        """Say why the source has no day before `first_day`, for people."""
        first = self.first_day(today)
        if first == self.first_kept_day(today) and self.retention:
            return tr(
                "calls are kept for {keep_days} days (retention.keep_days)",
                keep_days=self.retention.keep_days,
            )
        if first > self.start_date:
            return tr(
                "the plan gives {history_days} days back (history_days)",
                history_days=self.history_days,
            )
        return tr("its start_date, January 1 of last year unless set, is the first day ever loaded")
