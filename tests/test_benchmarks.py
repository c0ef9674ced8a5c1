"""The benchmarks measure, compare and report; what they measure is nobody's verdict."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest

from benchmarks import rendering
from benchmarks.__main__ import all_rows, main
from benchmarks.measuring import Figures, Outcome, measure
from benchmarks.report import Machine, as_json, as_markdown
from benchmarks.rows import BYTES, FILES, SECONDS, SHARE, STATED, Contender, Row, Target
from tests.processes import run_script

ROOT = Path(__file__).parents[1]
RUN = {"rounds": 3, "short": False}


def figures(name: str, *samples: float) -> Figures:
    """Return what a contender of version 1.0 has shown."""
    return Figures(name, "1.0", samples)


def outcome(*measured: Figures, unit: str = SECONDS, target: Target = STATED) -> Outcome:
    """Return the outcome of a row called `area.what`; its contenders no longer matter."""
    return Outcome(Row("area.what", "what it does", unit, (), target), measured)


def table_lines(*outcomes: Outcome) -> list[str]:
    """Return the lines of the table under its head."""
    return as_markdown(Machine.present(), outcomes, **RUN).splitlines()[5:]


def row_as_json(one: Outcome) -> dict:
    """Return a row as it stands in the JSON file."""
    return json.loads(json.dumps(as_json(Machine.present(), [one], **RUN)))["rows"][0]


def test_short_run_writes_table_and_json(tmp_path, capsys):
    """A short run of one row prints a table without verdicts, and writes it and the figures of both to files."""
    data, page = tmp_path / "run.json", tmp_path / "run.md"
    assert main(["--short", "--only", "counter.inc", "--json", str(data), "--markdown", str(page)]) == 0

    printed = capsys.readouterr().out
    assert page.read_text(encoding="utf-8") == printed
    assert printed.startswith("Short: ")
    assert printed.count("\n| bound counter, `inc()` | ") == 1
    assert printed.endswith(" | 2x |  |\n")

    run = json.loads(data.read_text(encoding="utf-8"))
    assert run["machine"].keys() == {"date", "cpu", "cores", "system", "python", "is_compiled", "load"}
    assert (run["rounds"], run["short"]) == (1, True)
    assert run["versions"].keys() == {"vitalsign", "prometheus_client"}
    (row,) = run["rows"]
    assert row["is_met"] is None
    assert (row["key"], row["unit"], row["target"]["factor"]) == ("counter.inc", "s", 2)
    assert [each["name"] for each in row["contenders"]] == ["vitalsign", "prometheus_client"]
    for each in row["contenders"]:
        assert not each["is_missing"]
        assert 0 < each["min"] <= each["median"] <= each["max"]


def test_openmetrics_rows_run(tmp_path):
    """A short run measures OpenMetrics pages by one and by eight threads, and the stall while one is scraped."""
    data = tmp_path / "run.json"
    assert main(["--short", "--only", "render.openmetrics.*", "--json", str(data)]) == 0
    rows = json.loads(data.read_text(encoding="utf-8"))["rows"]
    assert [row["key"].rpartition(".")[2] for row in rows] == ["1", "8", "stall"]
    assert all(each["median"] > 0 for row in rows for each in row["contenders"])


def test_page_in_another_format_is_not_measured():
    """An application that answers a scrape in another format than was asked for is an error, not a figure."""

    async def app(scope, receive, send):
        headers = [(b"content-type", b"text/plain; version=0.0.4")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"up 1.0\n"})

    scope = {"headers": [(b"accept", b"application/openmetrics-text;version=1.0.0")]}
    with pytest.raises(RuntimeError, match="not answered as it asked"):
        asyncio.run(rendering._scrape(app, scope))


def test_rows_of_many_processes_run(tmp_path):
    """A short run measures calls, scrapes and dead workers of both libraries, and the dead leave theirs to one."""
    data = tmp_path / "run.json"
    script = """
    import sys
    root, data = sys.argv[1:]
    sys.path.insert(0, root)
    from benchmarks.__main__ import main
    sys.exit(main(["--short", "--only", "processes.*", "--json", data]))
    """
    run_script(script, str(ROOT), str(data))
    rows = {row["key"]: row for row in json.loads(data.read_text(encoding="utf-8"))["rows"]}
    shown = {key: [each["median"] for each in row["contenders"]] for key, row in rows.items()}
    for key in ("inc", "first", "last", "scrape", "cold", "dead.first"):
        assert min(shown[f"processes.{key}"]) > 0
    ours, theirs = shown["processes.dead.files"]
    assert ours <= rows["processes.dead.files"]["target"]["limit"]
    assert theirs == 4  # one of each that died
    ours, theirs = shown["processes.dead.bytes"]
    assert 0 < ours < theirs
    assert len(shown["processes.dead.time"]) == 2


@pytest.mark.parametrize("library", ["vitalsign", "prometheus_client"])
def test_page_without_what_was_counted_is_not_measured(library):
    """A scrape that does not tell what the workers have counted is an error, not a figure."""
    script = """
    import sys
    root, library = sys.argv[1:]
    sys.path.insert(0, root)
    from benchmarks.workers import service
    with service(library, 1, 2) as running:
        assert running.scrape_time() > 0
        for path in running.directory.iterdir():
            path.unlink()
        try:
            running.scrape_time()
        except RuntimeError as error:
            print(error)
    """
    assert f"The page of {library} does not have what was counted" in run_script(script, str(ROOT), library)


def test_pattern_without_a_row_is_refused(capsys):
    """A pattern that no row matches is an error that names the rows."""
    with pytest.raises(SystemExit) as caught:
        main(["--only", "nothing"])
    assert caught.value.code == 2
    assert "no row matches 'nothing'; there are counter.inc, " in capsys.readouterr().err


def test_rows_have_keys_of_their_own_and_ours_first():
    """Every row can be chosen by its key, and all but the yardsticks compare vitalsign with something."""
    rows = all_rows()
    assert len({row.key for row in rows}) == len(rows)
    assert {row.contenders[0].name for row in rows if len(row.contenders) > 1} == {"vitalsign"}


def test_contenders_are_measured_once_a_round():
    """Each contender gives one figure a round, from the function that the row names."""
    row = Row(
        "area.what", "", BYTES, (Contender("ours", "", partial(max, 4.0)), Contender("peer", "", partial(max, 6.0)))
    )
    ours, peer = measure(row, rounds=2, short=True).figures
    assert (ours.name, ours.samples) == ("ours", (4.0, 4.0))
    assert (peer.name, peer.samples) == ("peer", (6.0, 6.0))


def test_missing_peer_is_reported():
    """A peer that is not installed is named as such, and a target that needs it is neither reached nor missed."""
    contenders = (Contender("vitalsign", "", float), Contender("absent", "no-such-distribution", float))
    missing = measure(Row("area.what", "what it does", BYTES, contenders, Target(factor=2)), rounds=1, short=True)
    assert missing.best_peer is None
    assert missing.is_met is None
    assert table_lines(missing) == ["| what it does | 1 B (1 to 1) | absent: not installed |  | 2x |  |"]
    assert row_as_json(missing)["contenders"][1] == {"name": "absent", "is_missing": True}


def test_row_is_judged_against_the_best_peer():
    """The best peer stands on the row's line and decides; further ones follow, missing ones last."""
    several = outcome(
        figures("vitalsign", 3e-6, 2e-6, 4e-6),
        figures("slow", 90e-6, 60e-6, 120e-6),
        figures("absent"),
        figures("quick", 15e-6, 10e-6, 20e-6),
        target=Target(limit=6e-6, factor=6),
    )
    assert table_lines(several) == [
        "| what it does | 3.00 µs (2.00 to 4.00) | quick 15.0 µs (10.0 to 20.0) | 5.00x | 6x, at most 6 µs | **no** |",
        "|  |  | slow 90.0 µs (60.0 to 120.0) | 30.0x |  |  |",
        "|  |  | absent: not installed |  |  |  |",
    ]
    shown = row_as_json(several)
    assert shown["is_met"] is False
    assert shown["contenders"][0]["samples"] == [3e-6, 2e-6, 4e-6]
    assert [each.get("ratio") for each in shown["contenders"]] == pytest.approx([1, 30, None, 5])


def test_growth_below_zero_reaches_its_limit():
    """A figure that has become less is shown as such, has no ratio, and keeps within any limit."""
    shrunk = outcome(figures("vitalsign", -0.001), figures("peer", 0.45), target=Target(limit=0.002))
    assert table_lines(shrunk) == [
        "| what it does | -1.00 ms (-1.00 to -1.00) | peer 450 ms (450 to 450) |  | at most 2 ms | yes |"
    ]


def test_files_are_counted():
    """A row of files shows whole ones."""
    (line,) = table_lines(
        outcome(figures("vitalsign", 3.0), figures("peer", 200.0), unit=FILES, target=Target(limit=4))
    )
    assert line == "| what it does | 3 files (3 to 3) | peer 200 files (200 to 200) | 66.7x | at most 4 files | yes |"


def test_shares_are_percent():
    """A row of shares shows percent; a share may be below nothing, where chance outweighs it."""
    (line,) = table_lines(
        outcome(figures("vitalsign", 0.021, -0.004), figures("peer", 0.25, 0.25), unit=SHARE, target=Target(limit=0.05))
    )
    assert line == "| what it does | 0.85 % (-0.40 to 2.10) | peer 25.0 % (25.0 to 25.0) |  | at most 5 % | yes |"


def test_ratio_compares_each_round_with_itself():
    """A machine that is slow in some rounds, for both contenders, does not move the ratio."""
    ours, peer = figures("vitalsign", 1.0, 2.0, 1.0, 1.0, 2.0), figures("peer", 3.0, 6.0, 6.0, 3.0, 6.0)
    assert peer.median / ours.median == 6
    assert outcome(ours, peer).ratio(peer) == 3


def test_nothing_has_no_ratio():
    """Where a contender's figure is zero there is no ratio to it."""
    (line,) = table_lines(outcome(figures("vitalsign", 24.0), figures("peer", 0.0), unit=BYTES))
    assert line == "| what it does | 24 B (24 to 24) | peer 0 B (0 to 0) |  |  |  |"


@pytest.mark.parametrize(
    ("target", "ours", "peer", "ratio", "verdict"),
    [
        (STATED, 1.0, 1.0, 1.0, None),
        (Target(factor=2), 1.0, 2.0, 2.0, True),
        (Target(factor=2), 1.0, 2.0, 1.9, False),
        (Target(factor=2), 1.0, None, None, None),
        (Target(surplus=0.5), 1.5, 1.0, None, True),
        (Target(surplus=0.5), 1.6, 1.0, None, False),
        (Target(limit=3.0), 3.0, None, None, True),
        (Target(limit=3.0), 3.1, None, None, False),
        (Target(limit=3.0, factor=2), 3.0, 5.0, 1.7, False),
        (Target(limit=3.0, factor=2), 3.0, None, None, None),
    ],
)
def test_target(target, ours, peer, ratio, verdict):
    """A target is reached when all that it asks holds, and open when what it asks cannot be said."""
    assert target.is_met(ours, peer, ratio) is verdict
