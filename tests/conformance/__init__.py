"""prometheus_client's own tests, run on vitalsign's instruments and pages: `python -m tests.conformance FOLDER`."""
