"""Images: sources, splits, and prepared arrays that any process can map.

`augment` lives in `dse.data.augment` and needs JAX; nothing here does.
"""

from dse.data.classes import ClassNames, check_same_data, read_classes, weights_classes
from dse.data.dataset import Dataset, Split, open_dataset
from dse.data.labelled import LabelledTree, open_labelled
from dse.data.prepare import describe_data, prepare_data
from dse.data.source import DataDescription
from dse.data.spec import DataSpec, parse_data

__all__ = [
    "ClassNames",
    "DataDescription",
    "DataSpec",
    "Dataset",
    "LabelledTree",
    "Split",
    "check_same_data",
    "describe_data",
    "open_dataset",
    "open_labelled",
    "parse_data",
    "prepare_data",
    "read_classes",
    "weights_classes",
]
