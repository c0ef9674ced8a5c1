"""The directory that workers share, where it is not as it should be: other users', read-only, full."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.processes import run_script

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

ROOTS = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its rights")

# A master that is root counts and forks; its child counts as nobody. Both print what the page says then.
DROPPING = """
    import json, logging, os, pwd, signal, sys
    from vitalsign import Counter, generate_latest
    from vitalsign.metrics import configure

    path, umask, mode, group = sys.argv[1:]
    nobody = pwd.getpwnam("nobody")
    logging.basicConfig()
    os.umask(int(umask, 8))
    options = {"mode": int(mode, 8), "group": nobody.pw_gid if group else None} if mode else {}
    configure(processes=path, **options)
    jobs = Counter("jobs", "Jobs.", ["user"])
    jobs.labels("root").inc()

    def shown():
        lines = generate_latest().decode().splitlines()
        return dict(line.split(" ") for line in lines if line.startswith(("jobs_total", "vitalsign_internal_errors_t")))

    def as_nobody():
        if os.fork() == 0:
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            jobs.labels("nobody").inc(2)
            shown()  # what fails in this scrape is on the next page
            print(json.dumps(shown()), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        os.wait()

    as_nobody()
    as_nobody()  # this one folds the first
    print(json.dumps(shown()))
    print(json.dumps(sorted(name for name in os.listdir(path) if name.endswith(".alive"))))
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that every user may enter."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@ROOTS
@pytest.mark.parametrize("umask", ["022", "077"])
@pytest.mark.parametrize("mode", ["770", "2770", "777"])
def test_dropped_privileges(open_folder, mode, umask):
    """With a mode and group, workers that are nobody count and fold beside a master that is root, in one page."""
    group = "" if mode == "777" else "nobody"
    first, second, master, alive = run_script(DROPPING, str(open_folder / "shared"), umask, mode, group).splitlines()
    assert "internal_errors" not in first + second + master
    assert '"jobs_total{user=\\"nobody\\"}": "2.0"' in first
    assert '"jobs_total{user=\\"root\\"}": "1.0"' in first
    assert '"jobs_total{user=\\"nobody\\"}": "4.0"' in second
    assert '"jobs_total{user=\\"nobody\\"}": "4.0"' in master
    assert alive.count(".alive") == 1


@ROOTS
def test_dropped_privileges_without_mode(open_folder):
    """Without a mode, forked workers count in files that they got as root; what they may not do is logged, counted."""
    told = run_script(DROPPING, str(open_folder / "shared"), "022", "", "")
    first, second, master, alive = told.splitlines()[:4]
    assert '"jobs_total{user=\\"nobody\\"}": "2.0"' in first
    assert '"jobs_total{user=\\"nobody\\"}": "4.0"' in second  # read from the files of the first, not folded
    assert '"jobs_total{user=\\"nobody\\"}": "4.0"' in master
    assert 'vitalsign_internal_errors_total{where=\\"processes\\"}' in second
    assert "PermissionError" in told
    assert alive.count(".alive") == 1


@ROOTS
def test_dropped_privileges_in_a_closed_directory(open_folder):
    """A worker that may not even read the directory has its own numbers on its page; the failure is logged, counted."""
    told = run_script(DROPPING, str(open_folder / "shared"), "077", "", "")
    first = next(line for line in told.splitlines() if line.startswith("{"))
    assert '"jobs_total{user=\\"nobody\\"}": "2.0"' in first
    assert '"jobs_total{user=\\"root\\"}": "1.0"' not in first
    assert 'vitalsign_internal_errors_total{where=\\"processes\\"}' in first
    assert "vitalsign failed in processes; the application goes on." in told
    assert "PermissionError" in told


STARTING = """
    import sys
    from vitalsign.exceptions import ProcessesError
    from vitalsign.metrics import configure

    if len(sys.argv) > 2:
        import os, pwd
        import vitalsign.metrics.processes.sharing  # loaded now: the interpreter's library may be root's alone
        os.setuid(pwd.getpwnam("nobody").pw_uid)
    try:
        configure(processes=sys.argv[1])
    except ProcessesError as error:
        print(error)
"""


def test_directory_cannot_be_made(tmp_path):
    """A directory that cannot be made is refused at start, with what, why and what to do."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "shared"
    text = run_script(STARTING, str(path))
    assert text.startswith(f"The directory '{path}' for the metrics of all processes cannot be used: ")
    assert "Not a directory" in text
    assert "configure(processes=..., mode=0o770, group=...)" in text


@ROOTS
def test_directory_not_writable(open_folder):
    """A directory in which a worker may not write is refused at start."""
    text = run_script(STARTING, str(open_folder), "nobody")
    assert text.startswith(f"The directory '{open_folder}' for the metrics of all processes cannot be used: ")
    assert "Permission denied" in text


def test_environment_names_unusable_directory(tmp_path):
    """An unusable directory in the environment stops the program where it imports vitalsign."""
    (tmp_path / "file").touch()
    script = f"""
        import os
        os.environ["VITALSIGN_PROCESSES_DIR"] = {str(tmp_path / "file")!r}
        try:
            import vitalsign
        except OSError as error:
            print(type(error).__name__, error)
    """
    assert run_script(script).startswith("ProcessesError The directory ")


# Counts on a disk that takes no more, from the start or from some point on, and prints what is left of it.
FILLING = """
    import json, os, resource, sys, time
    from pathlib import Path
    from vitalsign import Counter, Histogram, generate_latest
    from vitalsign.exceptions import ProcessesError
    from vitalsign.metrics import configure

    path, when, how = sys.argv[1:]

    def fill():
        if how == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (0 if when != "later" else 65536, resource.RLIM_INFINITY))
        else:
            with (Path(path).parent / "ballast").open("wb", buffering=0) as ballast:
                try:
                    while ballast.write(bytes(4096)):
                        pass
                except OSError:
                    pass

    def held():  # the least of some counts: other threads open files too, for moments
        return min((time.sleep(0.02), len(os.listdir("/proc/self/fd")))[1] for _ in range(10))

    if when == "at start":
        fill()
    try:
        configure(processes=path)
    except ProcessesError as error:
        print(error)
        sys.exit()
    if when == "before the first metric":
        fill()
    jobs = Counter("jobs", "Jobs.", ["kind"])
    sizes = Histogram("sizes", "Sizes.", ["kind"])
    jobs.labels("early").inc(3)
    if when == "later":
        fill()
    descriptors = held()
    for number in range(1500):
        jobs.labels(str(number)).inc(number)
        sizes.labels(str(number)).observe(number)
    jobs.labels("early").inc()
    page = dict(line.rsplit(" ", 1) for line in generate_latest().decode().splitlines())
    right = all(page[f'jobs_total{{kind="{n}"}}'] == page[f'sizes_sum{{kind="{n}"}}'] == f"{n}.0" for n in range(1500))
    left = [name for name in os.listdir(path) if name.endswith((".cells", ".names", ".tmp"))]
    descriptors = held() - descriptors
    errors = page['vitalsign_internal_errors_total{where="processes"}']
    print(json.dumps([right, page['jobs_total{kind="early"}'], float(errors) > 0, len(left), descriptors]))
"""


@pytest.fixture(params=["limit", "disk"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Return how the room for files is made small, by a limit or by the disk, and a folder where it is."""
    if request.param == "limit":
        yield "limit", tmp_path
        return
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield "disk", tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_disk_full_at_start(small_disk):
    """Where there is no room for anything, the start fails with a clear error."""
    how, folder = small_disk
    text = run_script(FILLING, str(folder / "shared"), "at start", how)
    assert text.startswith(f"The directory '{folder / 'shared'}' for the metrics of all processes cannot be used: ")
    assert "No space left on device" in text or "File too large" in text
    assert not list((folder / "shared").glob("*.tmp"))


@pytest.mark.parametrize(("when", "files"), [("before the first metric", 0), ("later", 2)])
def test_disk_full(small_disk, when, files):
    """On a disk that fills up everything goes on: own numbers on the own page, failures counted, nothing leaks."""
    how, folder = small_disk
    told = run_script(FILLING, str(folder / "shared"), when, how)
    assert told.splitlines()[0] == f'[true, "4.0", true, {files}, 0]'
    assert told.count("vitalsign failed in processes; the application goes on.") == 1
