"""The code in README, in docs/ and in examples/ runs as it stands there; `tests/pages.py` has the convention."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.pages import PageError, programs
from tests.sources import ROOT

PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if "_build" not in path.parts]
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))


def shown(path: Path) -> str:
    """Name a file as a test id."""
    return path.relative_to(ROOT).as_posix()


def run(folder: Path, *command: str) -> None:
    """Run Python with *command* in *folder* and fail with what it printed if it fails."""
    places = [str(Path(place).resolve()) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    done = subprocess.run(
        [sys.executable, "-P", *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if done.returncode:
        pytest.fail(f"exit code {done.returncode}\n{done.stdout}{done.stderr}", pytrace=False)


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_code_of_page_runs(page, tmp_path):
    """The Python blocks of the page run one after the other, each program in a process of its own."""
    for number in range(len(programs(page.read_text(encoding="utf-8")))):
        run(tmp_path, str(ROOT / "tests" / "pages.py"), str(page), str(number))


@pytest.mark.parametrize("example", EXAMPLES, ids=shown)
def test_example_can_be_imported(example, tmp_path):
    """The example runs as a module without error, and without serving: that stands under `__main__`."""
    run(tmp_path, "-c", "import runpy, sys; runpy.run_path(sys.argv[1], run_name='example')", str(example))


def page(text: str) -> str:
    """Return a Markdown page from an indented literal."""
    return textwrap.dedent(text).strip() + "\n"


def test_readme_is_a_page():
    """README is among the pages whose code is run."""
    assert (ROOT / "README.md") in PAGES
    assert (ROOT / "README.md").is_file()


def test_blocks_of_a_page_share_one_program():
    """Python blocks come in order, with the line they start on; blocks of other languages are left out."""
    text = """
        # Title
        ```python
        a = 1
        ```
        ```console
        $ ls
        ```
        - in a list
          ```{python}
          if a:
              b = a
          ```
    """
    assert programs(page(text)) == [[(3, "a = 1\n"), (10, "if a:\n    b = a\n")]]


def test_comments_steer_what_is_run():
    """A page may leave out a block with a reason, run code that is not shown, and start another process."""
    text = """
        <!-- test: setup
        hidden = 1
        -->
        <!-- test: skip: needs a cluster -->
        ```python
        never()
        ```
        <!-- test: fresh -->
        ```python
        shown = 2
        ```
    """
    assert programs(page(text)) == [[(2, "hidden = 1\n")], [(10, "shown = 2\n")]]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<!-- test: skip -->\n```python\n```\n", "line 1: 'test: skip"),
        ("<!-- test: skip: because -->\n", "no block after it"),
        ("\n<!-- test: frehs -->\n", "line 2: 'test: frehs"),
        ("<!-- test: setup x = 1 -->\n", "line 1: 'test: setup"),
        ("```pycon\n>>> 1\n```\n", "line 1: write ```python"),
    ],
)
def test_broken_convention_is_refused(text, complaint):
    """A comment that is not understood, a skip without a reason or block, and Python by another name are errors."""
    with pytest.raises(PageError) as caught:
        programs(text)
    assert complaint in str(caught.value)


def test_error_in_a_page_is_shown_with_its_line(tmp_path):
    """A block that fails is reported with its page, its line there and its error; `await` at the top is no error."""
    broken = tmp_path / "broken.md"
    broken.write_text("```python\nimport asyncio\nawait asyncio.sleep(0)\n```\n\n```python\nx = 1 / 0\n```\n")
    with pytest.raises(pytest.fail.Exception) as caught:
        run(tmp_path, str(ROOT / "tests" / "pages.py"), str(broken), "0")
    assert 'broken.md", line 7' in str(caught.value)
    assert "ZeroDivisionError" in str(caught.value)
