"""What the client hands out of the account itself; of its days it hands out `raw.days.Day`."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class UserInfo:
    """What the source says of the account; `paid_till` is None where it does not say."""

    paid_till: datetime | None
