"""Recorded numbers of the authors' codes against ours."""
