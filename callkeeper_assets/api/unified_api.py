"""The unified API of migrated accounts (ckct): calls of a window, page by page.

A list moves while it is paged: a call that vanishes before the next page is asked for pulls another
one over the seam, unseen. One page is one answer and cannot move. So a window is made small enough
for its list to be one page, and read page by page only where it cannot be made smaller: then twice,
until two readings agree.
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from callkeeper_assets.api.calls import KeyedCalls
from callkeeper_assets.api.errors import RetryLaterError
from callkeeper_assets.api.names import Role
from callkeeper_assets.api.records import UserInfo
from callkeeper_assets.api.session import Errand, SourceSession
from callkeeper_assets.api.strays import are_few, find_strays
from callkeeper_assets.api.troubles import Trouble, size_trouble
from callkeeper_assets.api.unified_answers import Page, build_mask, mask_token, read_page
from callkeeper_assets.api.windows import SAFETY_SEC, Window

METHODS: Final[dict[Role, str]] = {
    "own": "get",
    "by_role": "getByRole",
    "with_role": "getWithRole",
}
PAGE_LENGTH: Final = 1_000
_MOST_READINGS: Final = 6
# Any window shows whether the key is good; one that has no calls yet costs nothing.
_TRIED_WINDOW: Final = Window(86_400, 86_460)


class UnifiedApi:
    """Asks one account's session; for several threads.

    Args:
        session: Of the account.
        source: The source's name, by which its webhooks' address is known.
        api_key: The key, which is a part of each address.
        role: Whose calls are asked for.
    """

    largest_answer: int | None = PAGE_LENGTH

    def __init__(self, session: SourceSession, source: str, api_key: str, role: Role) -> None:
        self._session = session
        self._mask = build_mask(source)
        self._prefix = f"?json/v3/{quote(api_key, safe='')}/call/{METHODS[role]}"
        self._longest_page = 0
        self.calls_method = self.account_method = f"call/{METHODS[role]}"

    def ask_for_calls(self, window: Window, errand: Errand) -> KeyedCalls | Trouble:
        """Ask for the calls of a window; more may come, of a second on either side."""
        page = self._ask_for_page(window, 0, errand, can_be_halved=window.can_be_halved)
        if isinstance(page, Trouble):
            return page
        is_whole = self._is_whole(window, page, errand)
        if isinstance(is_whole, Trouble):
            return is_whole
        if is_whole:
            return page.calls
        strays = find_strays(window, page.calls)
        if not are_few(strays, page.calls):
            # Halves would bring as much, and a minute all pages: whoever asked judges this one.
            return page.calls
        if window.can_be_halved:
            return size_trouble(f"a page of {page.rows} calls, and more on the next one")
        return self._read_list_twice(window, errand)

    def ask_for_account(self, errand: Errand) -> UserInfo | Trouble:
        """Ask whether the key is good; this API does not say until when the account is paid."""
        page = self._ask_for_page(_TRIED_WINDOW, 0, errand)
        return page if isinstance(page, Trouble) else UserInfo(paid_till=None)

    def _ask_for_page(
        self, window: Window, number: int, errand: Errand, *, can_be_halved: bool = False
    ) -> Page | Trouble:
        start, end = window.start - SAFETY_SEC, window.end + SAFETY_SEC
        return self._session.ask(
            f"{self._prefix}/{number}/{start}/{end}",
            {},
            lambda body: read_page(mask_token(body, self._mask)),
            errand,
            can_be_halved=can_be_halved,
        )

    def _is_whole(self, window: Window, page: Page, errand: Errand) -> bool | Trouble:
        """Whether the first page is the whole list.

        Should pages ever be shorter than documented, calls must not be lost for it: a page is known
        to be short when there has been a longer one. Else the next page is asked for.
        """
        if page.total is not None:
            return page.total == page.rows
        longest = self._longest_page
        self._longest_page = max(longest, page.rows)
        if page.rows >= PAGE_LENGTH:
            return False
        if page.rows < longest or not page.rows:
            return True
        after = self._ask_for_page(window, 1, errand)
        return after if isinstance(after, Trouble) else not after.rows

    def _read_list_twice(self, window: Window, errand: Errand) -> KeyedCalls | Trouble:
        """Read all pages until two readings agree: no page then changed between its two answers.

        All of them were so at the moment between the end of the first reading and the beginning of
        the second, for a call does not come, go and come back.
        """
        before = None
        for _ in range(_MOST_READINGS):
            pages = self._read_list(window, errand)
            if isinstance(pages, Trouble):
                return pages
            now = [page.calls.list_records() for page in pages]
            rows = sum(page.rows for page in pages)
            if now == before and all(page.total in {None, rows} for page in pages):
                return _join(pages)
            before = now
        return Trouble(
            RetryLaterError,
            f"a list of calls that was another one each time, {_MOST_READINGS} times",
            "Try again later",
        )

    def _read_list(self, window: Window, errand: Errand) -> list[Page] | Trouble:
        pages: list[Page] = []
        seen: set[int | bytes] = set()
        while True:
            page = self._ask_for_page(window, len(pages), errand)
            if isinstance(page, Trouble):
                return page
            # One that knows no end would begin anew.
            records = page.calls.list_records()
            if records <= seen:
                return pages
            pages.append(page)
            seen |= records


def _join(pages: Iterable[Page]) -> KeyedCalls:
    calls = KeyedCalls()
    for page in pages:
        calls.add(page.calls)
    return calls
