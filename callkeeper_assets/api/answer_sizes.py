"""How large an answer may be and still be whole: a source may cut large ones without a word.

An answer larger than any that is believed is checked by asking for its halves. What the check finds
holds for the client's life: larger answers are whole up to there, or no answer reaches the cap.
"""

import threading


def near_cap(cap: int) -> int:
    """The size from which an answer may have been cut to `cap` rows.

    Some rows may be no calls that can be used, or stand twice: nine tenths are not believed either.
    """
    return cap * 9 // 10


class AnswerSizes:
    """What is known of one source's answers; shared by the threads.

    Args:
        check_from: An answer of so many calls is the first that has to be checked.
    """

    def __init__(self, check_from: int) -> None:
        self._believed = check_from - 1
        self._cap: int | None = None
        self.checking = threading.Lock()
        """Held while an answer is checked: days side by side wait for what it finds."""

    @property
    def cap(self) -> int | None:
        """Of how many calls the answers were that had been cut; None if none was."""
        return self._cap

    @property
    def largest(self) -> int | None:
        """Of how many calls an answer can be at most; None where no limit is known."""
        return None if self._cap is None else self._believed + 1

    def believes(self, calls: int) -> bool:
        """Whether an answer of so many calls is whole without a check."""
        return calls <= self._believed

    def was_whole(self, calls: int) -> None:
        """Believe answers up to this size from now on."""
        self._believed = max(self._believed, calls)

    def was_cut(self, calls: int) -> None:
        """Believe no answer that comes near this size from now on."""
        self._cap = calls
        self._believed = near_cap(calls) - 1
