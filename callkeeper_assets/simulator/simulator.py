"""The simulator as a whole: its accounts, found by key or by name, and their common clock."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

from callkeeper_assets.simulator.account import Account
from callkeeper_assets.simulator.clock import Clock
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings


class Simulator:
    """All of one simulated CallKeeper; `running.run_simulator` serves it."""

    def __init__(
        self,
        accounts: Sequence[AccountSettings],
        answers: AnswerSettings | None = None,
        now: dt.datetime | None = None,
    ) -> None:
        self.clock = Clock(now)
        self.accounts: list[Account] = []
        for settings in accounts:
            self.add_account(settings, answers)

    def add_account(
        self, settings: AccountSettings, answers: AnswerSettings | None = None
    ) -> Account:
        """Open an account; without a name it is called `account<n>`.

        Raises:
            ValueError: its key or name is taken.
        """
        name = settings.name or f"account{len(self.accounts) + 1}"
        if any(
            settings.key == each.settings.key or name == each.settings.name
            for each in self.accounts
        ):
            raise ValueError(f"the simulator already has an account of this key, or named {name}")
        account = Account(replace(settings, name=name), answers, self.clock)
        self.accounts.append(account)
        return account

    def close(self) -> None:
        """Send no more webhooks."""
        for account in self.accounts:
            account.webhooks.close()

    def find(self, key: str) -> Account | None:
        """The account of a key."""
        return next((each for each in self.accounts if each.settings.key == key), None)

    def account(self, name: str) -> Account:
        """The account of a name or key.

        Raises:
            KeyError: there is none.
        """
        for each in self.accounts:
            if name in (each.settings.name, each.settings.key):
                return each
        names = ", ".join(each.settings.name for each in self.accounts)
        raise KeyError(f"no such account; the simulator has {names or 'none'}")
