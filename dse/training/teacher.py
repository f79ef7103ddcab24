"""What a teacher says of the training images: soft targets for the networks that learn from it.

Source: Hinton, Vinyals and Dean 2015 (arXiv 1503.02531).
"""

from __future__ import annotations

import numpy as np

from dse.data import Dataset
from dse.networks import build_network
from dse.training.predict import Predictor, scores_of
from dse.training.scaling import InputScaling
from dse.weights.given import GivenWeights
from dse.weights.safetensors import nested


def teacher_scores(teacher: GivenWeights, dataset: Dataset) -> np.ndarray:
    """Scores float32 (image, class) of the training images, scaled as the teacher takes them.

    Raises:
        WeightsError: a teacher of other classes, or of another size of images.
    """
    teacher.check_teaches(dataset.input_shape, dataset.classes)
    scaling = InputScaling.of_rule(teacher.metadata.preprocessing)
    count = len(dataset.classes)
    predictor = Predictor(build_network(teacher.architecture), scaling, best_count=count)
    return scores_of(predictor, *nested(teacher.arrays), dataset.train, count)
