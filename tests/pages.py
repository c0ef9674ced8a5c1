"""
Code in the project's Markdown pages, as programs that can be run.

Every ```python block of a page is run, in order and in one namespace, in a Python process of its own; `await` may
stand at the top level, as in a notebook. HTML comments, which readers do not see, steer that:

    <!-- test: skip: needs a Kubernetes cluster -->      leaves out the next block, for the reason given
    <!-- test: fresh -->                                 starts a new process with what follows
    <!-- test: setup                                     is code itself, run in its place
    app = Starlette()
    -->

```console, ```text, ```yaml and other blocks are not run.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

PIECE = re.compile(
    r"<!--\s*test:\s*(?P<word>\w+)(?P<rest>.*?)-->"
    r"|^(?P<indent> *)```\{?(?P<language>[\w-]*)\}?[^\n]*\n(?P<body>.*?)^(?P=indent)```\s*$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A piece of code and the line of the page that it starts on."""

    line: int
    code: str


class PageError(ValueError):
    """A page breaks the convention; the text says where and how."""


def programs(page: str) -> list[list[Block]]:
    """
    Return the programs of *page*, the text of a Markdown file: lists of blocks that share a process.

    Raises:
        PageError: A comment is not understood, or a block claims to be Python under a name that is not run.
    """
    found: list[list[Block]] = [[]]
    skip = False
    for piece in PIECE.finditer(page):
        line = page.count("\n", 0, piece.start()) + 1
        if piece["word"]:
            skip = _obey(piece["word"], piece["rest"], line, found)
        elif piece["language"] in {"py", "python3", "pycon", "code-block", "code-cell"}:
            raise PageError(f"line {line}: write ```python, or it is not run, not ```{piece['language']}")
        elif piece["language"] == "python":
            if not skip:
                found[-1].append(Block(line + 1, _dedent(piece["body"], len(piece["indent"]))))
            skip = False
    if skip:
        raise PageError("the last `test: skip` has no block after it")
    return [blocks for blocks in found if blocks]


def _obey(word: str, rest: str, line: int, found: list[list[Block]]) -> bool:
    """Carry out one comment; True means that the next block is to be left out."""
    if word == "skip" and rest.strip(" :\n"):
        return True
    if word == "fresh" and not rest.strip():
        found.append([])
        return False
    if word == "setup" and rest.lstrip(" ").startswith("\n"):
        found[-1].append(Block(line + 1, rest.lstrip(" ")[1:]))
        return False
    raise PageError(f"line {line}: 'test: {word}{rest}' is not 'skip: reason', 'fresh' or 'setup' and lines of code")


def _dedent(code: str, width: int) -> str:
    return "".join(line[width:] if line[:width].isspace() else line for line in code.splitlines(keepends=True))


def run(name: str, blocks: list[Block], **given: object) -> dict[str, Any]:
    """
    Run *blocks* in one module, under line numbers of the page *name*, and return what they defined.

    Args:
        name: Stands in tracebacks.
        blocks: Run in order.
        given: What the module holds to begin with.
    """
    module = types.ModuleType("page")
    module.__dict__.update(given)
    sys.modules["page"] = module  # so that what the page defines can be pickled
    with asyncio.Runner() as runner:
        for block in blocks:
            source = "\n" * (block.line - 1) + block.code
            code = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            started = eval(code, module.__dict__)
            if code.co_flags & inspect.CO_COROUTINE:
                runner.run(started)
    return module.__dict__


def main(path: str, number: int) -> None:
    """Run one program of the page at *path*."""
    run(path, programs(Path(path).read_text(encoding="utf-8"))[number])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
