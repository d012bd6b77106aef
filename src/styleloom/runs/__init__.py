"""One run: its directory, its training to the end, its events, metrics and plan."""
