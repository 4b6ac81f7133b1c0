"""User agents, masked: the browser and the system by name, without versions and models."""

from typing import Final

# In this order: a browser names those that it wants to be taken for as well.
_BROWSERS: Final = (
    ("Bot", ("bot", "spider", "crawler")),
    ("Yandex Browser", ("yabrowser", "yandex browser")),
    ("Edge", ("edg/", "edga/", "edgios/", "edge")),
    ("Opera", ("opr/", "opera")),
    ("Samsung Internet", ("samsungbrowser", "samsung internet")),
    ("Firefox", ("firefox", "fxios")),
    ("Chrome", ("chrome", "crios", "chromium")),
    ("Safari", ("safari",)),
)
_SYSTEMS: Final = (
    ("Android", ("android",)),
    ("iOS", ("iphone", "ipad", "ipod", " ios")),
    ("Windows", ("windows",)),
    ("macOS", ("mac os", "macintosh", "macos")),
    ("Linux", ("linux", "x11")),
)
_OTHER: Final = "other"


def _find(text: str, names: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    return next((name for name, words in names if any(one in text for one in words)), _OTHER)


def mask_agent(text: str) -> str:
    """Return `browser, system`; what is masked already stays as it is."""
    lower = text.lower()
    return f"{_find(lower, _BROWSERS)}, {_find(lower, _SYSTEMS)}"
