"""Tables and plots of studies, made from their records; nothing here trains.

pandas and matplotlib are imported where they are used, so that importing this is cheap.
"""

from dse.report.figures.accuracy import plot_accuracy_against_size
from dse.report.tables.markdown import markdown, records
from dse.report.tables.summary import StudyTable, front_table, metaparameters, summarise, varying
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
