"""`python -m styleloom` is `styleloom`."""

from __future__ import annotations

import sys

from styleloom.cli import main

if __name__ == "__main__":
    sys.exit(main())
