"""What is to be said in Russian, collected from the code; `make texts` writes the catalogue.

Marked texts (`language.tr` and its fellows), commands' help, and the texts of tables and columns.
Babel keeps the translations of texts that stayed; a text that changed is one without any.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import typer.core
import typer.main
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from callkeeper_assets.cli.main import app
from callkeeper_assets.language import DOMAIN, FOLDER
from callkeeper_assets.warehouse.tables import TABLES, list_texts

PACKAGE: Final = Path(__file__).parents[1] / "callkeeper_assets"
PO: Final = FOLDER / "ru" / "LC_MESSAGES" / f"{DOMAIN}.po"
MO: Final = PO.with_suffix(".mo")
_KEYWORDS: Final = {"tr": None, "mark": None, "tr_count": (1, 2)}


def list_arguments(function: str) -> Iterator[str]:
    """Yield the texts that a function of the package is given by position, as constants."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == function:
                for one in node.args:
                    many = one.value if isinstance(one, ast.Starred) else one
                    for each in many.elts if isinstance(many, ast.Tuple) else [many]:
                        if isinstance(each, ast.Constant) and isinstance(each.value, str):
                            yield each.value


def list_help() -> Iterator[str]:
    """Yield what commands and their options say in a help."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for command in (group, *group.commands.values()):
        yield command.help or ""
        # Names of the simulator's switches and little else, for who tests.
        for parameter in () if command.name == "simulate" else command.params:
            yield getattr(parameter, "help", None) or ""


def collect() -> Catalog:
    """Return all texts without a translation, each once."""
    found = Catalog(domain=DOMAIN, fuzzy=False)
    for name, _, text, _, _ in extract_from_dir(
        PACKAGE, method_map=[("**.py", "python")], keywords=_KEYWORDS, comment_tags=()
    ):
        found.add(text, locations=[(f"callkeeper_assets/{name}", 0)])
    # It makes their two forms itself.
    for noun in list_arguments("say_count"):
        found.add((f"{{number:,}} {noun}", f"{{number:,}} {noun}s"), locations=[("counted", 0)])
    titles = (*list_arguments("build_table"), *list_arguments("describe_unknown"))
    for text in (*list_help(), *titles):
        if text:
            found.add(text, locations=[("commands", 0)])
    # What Typer says by itself; it asks gettext, in our domain.
    for name, _, text, _, _ in extract_from_dir(
        Path(typer.__file__).parent, method_map=[("*.py", "python")], keywords={"_": None}
    ):
        found.add(text, locations=[(f"typer/{name}", 0)])
    for table in TABLES.values():
        for text in list_texts(table):
            found.add(text, locations=[("tables", 0)])
    return found


def read_catalogue() -> Catalog:
    """Return the Russian catalogue as it is written."""
    with PO.open("rb") as file:
        return read_po(file, locale="ru", domain=DOMAIN)


def list_missing(catalogue: Catalog) -> list[str]:
    """Return the texts that have no translation, or not in each of the forms of a number."""
    return [
        str(one.id)
        for one in catalogue
        if one.id and not (one.string if isinstance(one.string, str) else all(one.string or ("",)))
    ]


def main() -> None:
    """Bring the catalogue to what the code says, and compile it."""
    catalogue = read_catalogue() if PO.exists() else Catalog(locale="ru", domain=DOMAIN)
    # Kept, so that nothing changes where no text did.
    made_at = catalogue.creation_date
    catalogue.update(collect(), no_fuzzy_matching=True)
    catalogue.creation_date = made_at
    catalogue.obsolete.clear()
    catalogue.fuzzy = False
    PO.parent.mkdir(parents=True, exist_ok=True)
    with PO.open("wb") as file:
        write_po(
            file, catalogue, width=100, sort_by_file=True, omit_header=False, no_location=False
        )
    with MO.open("wb") as file:
        write_mo(file, catalogue)
    missing = list_missing(catalogue)
    print(f"{len(catalogue)} texts, {len(missing)} without a translation.")  # noqa: T201


if __name__ == "__main__":
    main()
