"""The command `vitalsign`: one module per subcommand, each loaded with what it needs only when it is run."""

from __future__ import annotations

import sys
from argparse import Action
from importlib import import_module
from typing import TYPE_CHECKING

from vitalsign.cli._parser import Parser
from vitalsign.exceptions import VitalsignError

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence

__all__ = ["main"]

_COMMANDS = {
    "demo": "serve an instrumented shop to look at",
    "drain": "take a service out of traffic before it is stopped",
    "health": "ask a service how it is",
}
"""What there is: a module each, which is not loaded for help alone, nor for another command."""

_INTERRUPTED = 130  # as shells have it for a program that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command line.

    Args:
        argv: Arguments without the program's name; None takes the process's own.

    Returns:
        Exit code: 0 if all went well, 1 if the command could not do its work, 2 if the arguments make no sense;
        commands may say more.
    """
    given = sys.argv[1:] if argv is None else argv
    try:
        options = _parser(given).parse_args(given)
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


def _parser(argv: Sequence[str]) -> Parser:
    parser = Parser(prog="vitalsign", description="Make Python applications observable.", allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.set_defaults(run=lambda _: _print_help(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    chosen = next((word for word in argv if word in _COMMANDS), None)
    for name, summary in _COMMANDS.items():
        subparser = commands.add_parser(name, help=summary, allow_abbrev=False)
        if name == chosen:
            command = import_module(f"vitalsign.cli.{name}")
            subparser.description = command.__doc__
            subparser.set_defaults(run=command.run)
            command.configure(subparser)
    return parser


class _Version(Action):
    """Print the version, which takes a while to find out, only when it is asked for."""

    def __call__(self, parser: ArgumentParser, *_: object) -> None:
        print(f"vitalsign {_version()}")
        parser.exit()


def _print_help(parser: Parser) -> int:
    parser.print_help()
    return 0


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("vitalsign")
    except metadata.PackageNotFoundError:
        return "(run from its source, not installed)"
