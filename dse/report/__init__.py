"""Tables and plots of studies, made from their records; nothing here trains.

pandas and matplotlib are imported where they are used, so that importing this is cheap.
"""

from dse.report.formats import markdown, records
from dse.report.plots import plot_accuracy_against_size
from dse.report.tables import StudyTable, front_table, metaparameters, summarise, varying
from dse.study.table import read_trials

__all__ = [
    "StudyTable",
    "front_table",
    "markdown",
    "metaparameters",
    "plot_accuracy_against_size",
    "read_trials",
    "records",
    "summarise",
    "varying",
]
