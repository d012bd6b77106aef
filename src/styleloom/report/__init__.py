"""The report of one run or several: a single page that opens offline.

In the order in which to read:

- record: what a run directory tells of a run
- page: the whole page
- sections: its sections, in their order
- words: what they say of a run in a few words
- curves: which curves there are
- charts: curves as SVG
- html: elements, in which all text is escaped
"""

from styleloom.report.page import write_report
from styleloom.report.record import RunRecord, names_of, read_run

__all__ = ["RunRecord", "names_of", "read_run", "write_report"]
