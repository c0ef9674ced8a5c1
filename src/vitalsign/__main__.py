"""`python -m vitalsign` is the command `vitalsign`."""

from __future__ import annotations

import sys

from vitalsign.cli import main

if __name__ == "__main__":
    sys.exit(main())
