"""What README and docs/ point at is there, and the reference leaves nothing public out."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.sources import ROOT, SOURCE

REFERENCE = "\n".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "reference").glob("*.md")))
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]
OUTSIDE = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
"""Pages whose links Sphinx does not check."""
NOT_IMPORTED = {"cli", "demo", "metrics"}
"""The command and its demo, which have a guide, and the package whose names are all imported from `vitalsign`."""


def public_modules():
    """Name the modules that users import from."""
    children = [path for path in SOURCE.iterdir() if not path.name.startswith("_")]
    names = {path.stem for path in children if path.suffix == ".py" or (path / "__init__.py").is_file()}
    return ["vitalsign", "vitalsign.health.checks", *(f"vitalsign.{name}" for name in sorted(names - NOT_IMPORTED))]


def is_documented(module, name):
    """Tell whether the reference has an entry for *name*, alone or with all of its module."""
    whole = re.search(rf"automodule:: {re.escape(module)}\n   :members:\n", REFERENCE)
    return whole or re.search(rf"^\.\. auto\w+:: {re.escape(name)}$", REFERENCE, re.MULTILINE)


def slug(heading):
    """Return the anchor of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("module", public_modules())
def test_reference_has_every_public_name(module):
    """Every name in the `__all__` of a public module has an entry in the reference."""
    names = importlib.import_module(module).__all__
    missing = [name for name in names if name != "checks" and not is_documented(module, name)]
    assert not missing


@pytest.mark.parametrize("page", OUTSIDE, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    """Every relative link of a page outside of docs/ leads to a file, and to a heading in it if it names one."""
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), link


def test_own_metrics_are_called_by_their_names():
    """Every metric of the library's own that README or a page names is declared in the source."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    named = {
        name
        for page in [*OUTSIDE, *PAGES]
        for name in re.findall(r"\bvitalsign_[a-z_]+\b", page.read_text(encoding="utf-8"))
    }
    assert named
    assert not {name for name in named if f'"{name.removesuffix("_total")}"' not in source}
