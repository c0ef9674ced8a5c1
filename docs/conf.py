"""How Sphinx builds the documentation: MyST pages, a reference from docstrings, nothing fetched from anywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from vitalsign.metrics.instruments import Instrument

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = PROJECT["name"]
version = release = PROJECT["version"]
author = "The vitalsign maintainers"
copyright = f"{author}. MIT licence"  # noqa: A001  # Sphinx's own name for it

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

nitpicky = True
nitpick_ignore_regex = [
    # Types of other libraries: links to them would need their inventories, and so the internet, at each build.
    (
        "py:class",
        r"(asyncio|collections|concurrent|datetime|httpx|logging|os|prometheus_client|socket|ssl)\..+",
    ),
    (
        "py:class",
        r"ASGIApp|AbstractAsyncContextManager|CapacityLimiter|CollectorRegistry|Metric|Path|Route|StartResponse|ThreadPoolExecutor|WSGIApplication|WSGIEnvironment|datetime",
    ),
    # Names that signatures give to a shape: what may be passed is said in words, beside the argument.
    (
        "py:class",
        r"(.+\.)?(_F|AlertStatus|Counts|Decorated|Decorator|Destination|File|GaugeMode|Instrument|LabelFunction|Labels|Names|Networks|Observes|RouteFunction|Sets|Token|UpAndDown)",
    ),
    # What only we make.
    ("py:class", r"(.+\.)?(Certificates|Endpoint)"),
    # What methods return to be used at once, as the line that returns it says.
    ("py:class", r"(.+\.)?(ExceptionCounter|HealthApp|HealthWSGIApp|InProgress|Lifecycle)"),
]

# -- pages

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"vitalsign {version}"
html_static_path = ["_static"]
html_css_files = ["vitalsign.css"]
html_favicon = "_static/vitalsign.svg"
html_theme_options = {"sidebar_hide_name": False, "top_of_page_buttons": []}
html_copy_source = False
html_logo = "_static/vitalsign.svg"
pygments_style = "friendly"
pygments_dark_style = "monokai"

# -- reference

autoclass_content = "both"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
add_module_names = False


def rest_of(docstring: str) -> str:
    """Turn the Markdown of our docstrings (code fences, code in single backticks) into reStructuredText."""
    text = re.sub(r"^( *)```(\w+)\n(.*?)^ *```$", _code_block, docstring, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text)


def _code_block(fence: re.Match[str]) -> str:
    indent, language, code = fence.groups()
    body = "".join(f"   {line}" if line.strip() else line for line in code.splitlines(keepends=True))
    return f"{indent}.. code-block:: {language}\n\n{body}"


def _convert(_app: Any, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    lines[:] = rest_of("\n".join(lines)).split("\n")
    if what in {"attribute", "property"}:
        lines[:0] = ["..", ""]  # an empty comment, or napoleon takes what stands before a colon for a type


# Its docstring is for readers of the code; without it, Sphinx shows what `__new__` of each instrument says.
Instrument.__init__.__doc__ = None


def setup(app: Any) -> None:
    """Put the conversion before napoleon, which runs at priority 500."""
    app.connect("autodoc-process-docstring", _convert, priority=400)
