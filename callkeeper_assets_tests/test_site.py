"""What `make docs` does to a page, and what it refuses; that all is built is seen by `.ci/run`."""

from pathlib import Path

from callkeeper_assets_tests.site import list_fetched, set_in


def test_what_goes_on_in_a_list_is_set_in_by_four_and_a_block_stays_as_it_is() -> None:
    page = """\
    Before:
    1. **First.** One

       ```
       - no list
       ```

    10. Second
        goes on
    - third
      - deeper

    After
      as it was
    """.replace("\n    ", "\n").strip()
    assert set_in(page) == (
        "Before:\n\n1. **First.** One\n\n    ```\n    - no list\n    ```\n\n"
        "10. Second\n    goes on\n- third\n    - deeper\n\nAfter\n  as it was\n"
    )


def test_a_page_that_fetches_from_elsewhere_is_named_and_a_link_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<link rel="canonical" href="https://one.example/"><a href="https://two.example/">x</a>'
        '<script src="assets/own.js"></script><link rel="stylesheet" href="//three.example/x.css">'
    )
    assert list(list_fetched(tmp_path)) == ["a.html fetches //three.example/x.css"]
