"""A tap for the API, as the guide of singer-sdk says: one REST stream, a partition for each day.

Types are declared, as a tap has to; numbers that come as text are made numbers, nested marks stay
objects.
"""

# mypy: disable-error-code="import-not-found,misc,untyped-decorator"

import datetime as dt
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th

from callkeeper_assets_tests.benchmarks.peers.job import day_parameters

_NUMBERS: Final = (
    "id",
    "status_code",
    "status2_code",
    "date_timestamp",
    "duration_sec",
    "duration_min",
    "duration2_sec",
    "duration2_min",
    "attempt",
    "a_type",
    "playback_tick",
    "asr_attempts",
)
_TEXTS: Final = (
    "status_reason",
    "status2_reason",
    "ip",
    "country",
    "city",
    "region",
    "district",
    "site",
    "ga_clientid",
    "ga_clid",
    "ya_clientid",
    "roistat_visit",
    "phone1",
    "phone2",
    "widget_hash",
    "widget_name",
    "record_url",
    "tags",
    "event_source",
)
_TIMES: Final = ("date", "order_date")
_MARKS: Final = "visit_info"


class CallsStream(RESTStream):
    """The calls of all accounts, a request for each day of each."""

    name = "calls"
    path = "/getCallsInfo"
    primary_keys = ("account", "id")
    records_jsonpath = "$.result[*]"
    schema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("account", th.StringType, required=True),
        *(th.Property(name, th.IntegerType) for name in _NUMBERS),
        *(th.Property(name, th.StringType) for name in _TEXTS),
        *(th.Property(name, th.DateTimeType) for name in _TIMES),
        th.Property(_MARKS, th.ObjectType(additional_properties=True)),
    ).to_dict()

    @property
    def url_base(self) -> str:
        """Where the API is."""
        return str(self.config["api_url"])

    @property
    def partitions(self) -> list[dict[str, str]]:
        """Each day of each account, the accounts by turns."""
        first = dt.date.fromisoformat(self.config["first"])
        days = (dt.date.fromisoformat(self.config["last"]) - first).days + 1
        return [
            {"account": name, "day": str(first + dt.timedelta(days=number))}
            for number in range(days)
            for name in self.config["accounts"]
        ]

    def get_url_params(self, context: Mapping[str, Any] | None, _: object) -> dict[str, str]:
        """The query for a day."""
        assert context is not None
        key = self.config["accounts"][context["account"]]
        day = dt.date.fromisoformat(context["day"])
        return day_parameters(key, day, self.config["time_zone"])

    def post_process(
        self, row: dict[str, Any], context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The record with its declared types."""
        assert context is not None
        for name in _NUMBERS:
            value = row.get(name)
            row[name] = None if value is None or value in ("", " ") else int(value)
        if not isinstance(row.get(_MARKS), dict):
            row[_MARKS] = None
        row["account"] = context["account"]
        return row


class CallsTap(Tap):
    """The tap."""

    name = "tap-calls"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("api_url", th.StringType, required=True),
        th.Property("accounts", th.ObjectType(additional_properties=True), required=True),
        th.Property("time_zone", th.StringType, required=True),
        th.Property("first", th.StringType, required=True),
        th.Property("last", th.StringType, required=True),
    ).to_dict()

    def discover_streams(self) -> list[CallsStream]:
        """The one stream."""
        return [CallsStream(self)]


if __name__ == "__main__":
    CallsTap.cli()
