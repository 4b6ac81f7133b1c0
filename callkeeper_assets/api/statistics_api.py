"""The statistics API of api.callkeeper.ru: one window is one answer, there are no pages."""

from zoneinfo import ZoneInfo

from callkeeper_assets.api.answers import read_calls, read_user_info
from callkeeper_assets.api.calls import KeyedCalls
from callkeeper_assets.api.records import UserInfo
from callkeeper_assets.api.session import Errand, SourceSession
from callkeeper_assets.api.troubles import Trouble
from callkeeper_assets.api.windows import Window


class StatisticsApi:
    """Asks one account's session."""

    calls_method = "getCallsInfo"
    account_method = "getUserInfo"
    largest_answer: int | None = None

    def __init__(self, session: SourceSession, api_key: str, time_zone: ZoneInfo) -> None:
        self._session = session
        self._api_key = api_key
        self._time_zone = time_zone

    def ask_for_calls(
        self, window: Window, errand: Errand, time_zone: str = "UTC"
    ) -> KeyedCalls | Trouble:
        """Ask for the calls of a window; more may come, of a second on either side.

        The window is told in UTC, unless it is to be seen whether the source heeds `time_zone`.
        """
        start, end = window.asked(ZoneInfo(time_zone))
        parameters = {
            "api_key": self._api_key,
            "date[from]": start,
            "date[to]": end,
            "time_zone": time_zone,
        }
        return self._session.ask(
            f"/{self.calls_method}",
            parameters,
            read_calls,
            errand,
            can_be_halved=window.can_be_halved,
        )

    def ask_for_account(self, errand: Errand) -> UserInfo | Trouble:
        """Ask whose the key is."""
        return self._session.ask(
            f"/{self.account_method}",
            {"api_key": self._api_key},
            lambda body: read_user_info(body, self._time_zone),
            errand,
        )
