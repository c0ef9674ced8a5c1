"""
vitalsign measured beside its peers: `python -m benchmarks`, or `nox -s bench`.

`rows.py` says what a row is, `measuring.py` how it is measured, `report.py` how it is shown; every other module holds
rows. Nothing here judges the code by its times: a row that misses its target says so and fails nothing.
"""
