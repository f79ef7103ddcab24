from __future__ import annotations

import pytest

from dse.config import load_space
from dse.config.files import dump_yaml
from dse.config.spacefile import space_to_dict
from dse.space.enumerate import make_pool
from dse.space.whole import MOST_MACS, whole_space


@pytest.mark.parametrize("side", [8, 32, 64, 224])
def test_there_are_ten_thousand_feasible_candidates_of_a_hundredfold_range(side):
    pool = make_pool(whole_space((side, side, 3)), (side, side, 3), 10)
    assert pool.is_whole
    assert len(pool) >= 10_000
    sizes = pool.costs["params_count"]
    assert sizes.max() > 100 * sizes.min()
    assert pool.costs["macs"].max() <= MOST_MACS


def test_written_to_a_file_it_is_the_same_space(tmp_path):
    space = whole_space((64, 48, 3))
    plain = {name: value for name, value in space_to_dict(space).items() if name != "name"}
    dump_yaml(plain, tmp_path / "whole.yaml")
    assert load_space(tmp_path / "whole.yaml") == space
