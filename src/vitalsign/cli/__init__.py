"""The command `vitalsign`: one module per subcommand, each loaded with what it needs only when it is run."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import TYPE_CHECKING

from vitalsign.cli import demo
from vitalsign.cli._parser import Parser
from vitalsign.exceptions import VitalsignError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_COMMANDS = (demo,)
_INTERRUPTED = 130  # as shells have it for a program that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command line.

    Args:
        argv: Arguments without the program's name; None takes the process's own.

    Returns:
        Exit code: 0 if all went well, 1 if the command could not do its work, 2 if the arguments make no sense.
    """
    try:
        options = _parser().parse_args(argv)
    except SystemExit as ended:  # how argparse ends, after --help too
        return int(ended.code or 0)
    try:
        code: int = options.run(options)
    except VitalsignError as error:
        print(f"vitalsign {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def _parser() -> Parser:
    parser = Parser(prog="vitalsign", description="Make Python applications observable.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"vitalsign {_version()}")
    parser.set_defaults(run=lambda _: _print_help(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command in _COMMANDS:
        subparser = commands.add_parser(
            command.NAME, help=command.SUMMARY, description=command.__doc__, allow_abbrev=False
        )
        subparser.set_defaults(run=command.run)
        command.configure(subparser)
    return parser


def _print_help(parser: Parser) -> int:
    parser.print_help()
    return 0


def _version() -> str:
    try:
        return metadata.version("vitalsign")
    except metadata.PackageNotFoundError:
        return "(run from its source, not installed)"
