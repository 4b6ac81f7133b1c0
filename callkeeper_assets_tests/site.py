"""The documentation as a site, `make docs`: pages gathered for mkdocs, built, links checked.

Pages stay where they are in the repository and are written for GitHub, whose Markdown is
CommonMark. That of mkdocs is older: it wants four blanks before what goes on in a list. So lists
are set in; what else a page links to comes along as a file, or, of a folder, as a list.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]
_SOURCE: Final = _ROOT / "build" / "site-source"
_SITE: Final = _ROOT / "build" / "site"
_PAGES: Final = ("*.md", "docs/**/*.md", "dbt/*.md", "findings/*.md")
_ITEM: Final = re.compile(r"(?:-|\d+\.) +")
_LINK: Final = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")
_STYLE: Final = """\
/* Tables of sentences, of which most pages have some: wide, small, no name broken in two. */
.md-grid { max-width: 80rem; }
.md-typeset table:not([class]) { font-size: .66rem; }
.md-typeset table:not([class]) :is(th, td) { min-width: 3rem; padding: .6em .8em; }
.md-typeset table:not([class]) thead:not(:has(th:not(:empty))) { display: none; }
.md-typeset img { max-height: 32rem; width: auto; }
.md-typeset td code { word-break: normal; overflow-wrap: break-word; }
"""
# What a browser fetches by itself; a link is followed by a person.
_FETCHED: Final = {"script": "src", "img": "src", "link": "href", "iframe": "src"}
_NO_FETCH: Final = {"canonical", "alternate", "next", "prev"}


def set_in(text: str) -> str:
    """Set what goes on in an item of a list in by four blanks, and part lists from paragraphs."""
    lines: list[str] = []
    width = 0
    in_block = False
    for line in text.splitlines():
        item = _ITEM.match(line) if not in_block else None
        if item:
            if not width and lines and lines[-1].strip():
                lines.append("")
            width = len(item[0])
            lines.append(line)
        elif width and line.startswith(" " * width):
            lines.append("    " + line[width:])
        else:
            # A line that is set in by less goes on with the item, unless an empty one is between.
            if line.strip() and lines and not lines[-1].strip():
                width = 0
            lines.append(line)
        if line.lstrip().startswith("```"):
            in_block = not in_block
    return "\n".join(lines) + "\n"


def _bring_along(page: Path, text: str) -> str:
    """Copy the files that a page links to; return its text, with a folder's list for a folder."""

    def follow(link: re.Match[str]) -> str:
        target = (page.parent / link[1]).resolve()
        if target.is_dir():
            return f"{link[1].rstrip('/')}/README.md"
        if target.is_file() and target.suffix != ".md":
            copy = _SOURCE / target.relative_to(_ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(target, copy)
        return link[1]

    return _LINK.sub(follow, text)


def _list_decisions() -> str:
    lines = ["# Decisions", ""]
    for file in sorted((_ROOT / "docs" / "decisions").glob("*.md")):
        title = file.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title}]({file.name})")
    return "\n".join(lines) + "\n"


def gather() -> None:
    """Write the pages as mkdocs reads them, at the paths that they have here."""
    shutil.rmtree(_SOURCE, ignore_errors=True)
    for pattern in _PAGES:
        for page in sorted(_ROOT.glob(pattern)):
            copy = _SOURCE / page.relative_to(_ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(_bring_along(page, set_in(page.read_text("utf-8"))), "utf-8")
    (_SOURCE / "docs" / "decisions" / "README.md").write_text(_list_decisions(), "utf-8")
    (_SOURCE / "site.css").write_text(_STYLE, "utf-8")


class _Fetches(HTMLParser):
    """Collects what a page has a browser fetch from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address of what is fetched by itself."""
        given = dict(attrs)
        address = given.get(_FETCHED.get(tag, "")) or ""
        if "//" in address and given.get("rel") not in _NO_FETCH:
            self.found.append(address)


def list_fetched(site: Path) -> Iterator[str]:
    """Yield what pages fetch from elsewhere: a reader may have no network."""
    for page in sorted(site.rglob("*.html")):
        parser = _Fetches()
        parser.feed(page.read_text("utf-8"))
        for address in parser.found:
            yield f"{page.relative_to(site)} fetches {address}"


def build() -> list[str]:
    """Have mkdocs build the site; return what is wrong with it."""
    # Not --quiet: a warning that is not said is none, and a strict build would pass.
    command = (sys.executable, "-m", "mkdocs", "build", "--clean")
    # Of the theme's makers, to whom reads its output: another program is on its way.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return [line for line in done.stderr.splitlines() if line and not line.startswith("INFO")]
    return list(list_fetched(_SITE))


def main() -> None:
    """Gather, build, check."""
    gather()
    problems = build()
    if problems:
        sys.exit("\n".join(problems))
    print(f"{len(list(_SITE.rglob('*.html')))} pages: {_SITE / 'index.html'}")  # noqa: T201


if __name__ == "__main__":
    main()
