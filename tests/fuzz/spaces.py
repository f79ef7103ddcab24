"""Search spaces, with everything that is made of one: survey, pool and networks."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from dse.architecture import FAMILIES, OBJECTIVES, build, cost
from dse.config import apply_settings, load_space, load_yaml_dict, shipped_spaces
from dse.config.spacefile import space_from_dict, space_to_dict
from dse.space.enumerate import make_pool, survey
from tests.fuzz.harness import Kind
from tests.fuzz.mutate import TOKENS, VALUES, mutate_plain, mutate_text

_NAMES = [name for family in FAMILIES.values() for name in family.metaparameters]
_NUMBERS = (0, 1, 2, 3, 8, 64, 1000, 10**6, 10**9, 2**63 - 1, -1, 0.0, 1e-9, 0.1, 0.5, 1.0, 1e300)
_WHOLE = (1, 2, 3, 4, 8, 16, 64, 512, 10**4, 10**9)
_SHARES = (1e-9, 0.001, 0.125, 0.25, 0.5, 0.75, 0.9, 1.0)
_WORDS = (
    *("schema: 1", "extends: squeeze_ratio.yaml", "extends: x.yaml", "family: alexnet", "limits:"),
    *("{values: []}", "{values: [1, 1]}", "{range: [1, 1000000000]}", "log: true", "step: 0"),
    *("&a", "*a", "!!int", "<<:", "---", "...", "%YAML 1.1", "|", ">", "?", "'", '"', "#", "\t"),
    *(".nan", ".inf", "0x1f", "1_000", "0o17", "\x85", "auto", "late", "[conv1, fire4]", "}", "]"),
)
_SHAPES = ((8, 8, 1), (32, 32, 3), (1, 1, 1), (227, 227, 3), (7, 300, 3))


def _domain(rng: Random) -> Any:
    """A value, some values or a range, of numbers that go together or not."""
    numbers = rng.choice((_NUMBERS, _WHOLE, _SHARES))
    if rng.random() < 0.2:
        return rng.choice(numbers)
    if rng.random() < 0.3:
        return {"values": rng.sample(numbers, rng.randrange(1, 5))}
    made: dict[str, Any] = {"range": sorted(rng.sample(numbers, 2))}
    if rng.random() < 0.5:
        made["step"] = rng.choice((*numbers, 1e-7, 1e-300))
    if rng.random() < 0.4:
        made["log"] = True
    return made


def _mutate(rng: Random, content: bytes) -> bytes:
    """A domain that somebody might write, plain data mutated, or text."""
    if rng.random() < 0.35:
        return mutate_text(rng, content, (*_WORDS, *_NAMES, *TOKENS))
    document = json.loads(content)
    for _ in range(rng.choice((0, 1, 2, 3, 3, 9))):
        values = document.setdefault("metaparameters", {})
        if rng.random() < 0.7:
            values[rng.choice(_NAMES)] = _domain(rng)
        else:
            ends = rng.sample(("min", "max"), rng.randrange(1, 3))
            document.setdefault("limits", {})[rng.choice(OBJECTIVES)] = {
                end: rng.choice(_NUMBERS) for end in ends
            }
    if rng.random() < 0.4:
        document = mutate_plain(rng, document, (*VALUES, *_NAMES, *_WORDS))
    return json.dumps(document).encode()  # YAML too


def _read(path: Path) -> object:
    space = load_space(path)
    again = space_from_dict(json.loads(json.dumps(space_to_dict(space))))
    assert again.domains == space.domains
    shape = _SHAPES[path.stat().st_size % len(_SHAPES)]
    pool = make_pool(space, shape, 10)
    networks = {pool.candidate(index) for index in (0, len(pool) // 2, len(pool) - 1)}
    for candidate in networks:
        network = cost(build(candidate, shape, 10))
        counted = pool.costs_of(pool.find(candidate))["params_count"]
        assert counted == min(network.params_count, 2**63 - 1)
    return pool


def _read_for_check(path: Path) -> object:
    """As `dse check` does."""
    space = load_space(path)
    found = survey(space, _SHAPES[path.stat().st_size % len(_SHAPES)], 10, is_sampled=True)
    for row, count in found.refusals:
        assert count
        assert found.everything.reason(row)
    assert sum(count for _, count in found.refusals) == len(found.refused_rows)
    return found


def _read_setting(path: Path) -> object:
    return apply_settings(_TINY, path.read_text("utf-8", "surrogateescape").split("\n"))


_TINY = load_space(Path(__file__).parents[1] / "fixtures" / "spaces" / "tiny_search.yaml")
_SOUND = tuple(
    json.dumps({"family": "squeezenet"} | load_yaml_dict(path)).encode()
    for _, path in shipped_spaces()
    if "extends" not in load_yaml_dict(path)
)
_SETTINGS = b"base_e={values: [8, 16]}\nsqueeze_ratio={range: [0.25, 1.0], step: 0.25}\npools=early"

KINDS = (
    Kind("space.yaml", _SOUND, _mutate, _read, count=120, long_count=12_000),
    Kind("checked.yaml", _SOUND, _mutate, _read_for_check, long_count=12_000),
    Kind(
        "settings.txt",
        (_SETTINGS,),
        lambda rng, content: mutate_text(rng, content, (*_WORDS, *_NAMES, *TOKENS)),
        _read_setting,
        long_count=5_000,
    ),
)
