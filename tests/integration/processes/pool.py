"""A program whose child processes count: by fork, spawn or forkserver, as its argument says; prints what it has."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys

from vitalsign import Counter, Gauge, generate_latest

JOBS = Counter("pool_jobs", "Jobs done.", ["kind"])
OPEN = Gauge("pool_jobs_in_progress", "Jobs under way.", multiprocess_mode="livesum")


def work(amount: int) -> int:
    """Do jobs, and tell who did."""
    with OPEN.track_inprogress():
        JOBS.labels("child").inc(amount)
    return os.getpid()


def die() -> None:
    """Do a job, and be killed in the middle of the next."""
    JOBS.labels("killed").inc()
    OPEN.inc()
    os.kill(os.getpid(), signal.SIGKILL)


def main(method: str) -> None:
    """Let children and this process work, and print the page and the children's ids."""
    context = multiprocessing.get_context(method)
    JOBS.labels("parent").inc(5)  # a forked child must not bring it along
    JOBS.labels("child").inc(3)
    OPEN.inc()
    with context.Pool(3, maxtasksperchild=10) as pool:
        pids = pool.map(work, [2] * 100, chunksize=1)
        meanwhile = generate_latest().decode()
        pool.close()
        pool.join()
    for _ in range(4):
        victim = context.Process(target=die)
        victim.start()
        victim.join()
    print(json.dumps({"pids": pids, "meanwhile": meanwhile, "page": generate_latest().decode()}))


if __name__ == "__main__":
    main(sys.argv[1])
