"""What makes a study this study: kept with its record, compared when it is opened again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dse.architecture import FAMILIES
from dse.data import DataDescription, Dataset
from dse.errors import StudyMismatchError
from dse.study.fields import Name, Seed, formerly, from_dict


@dataclass(frozen=True)
class Definition:
    """What a study holds; a study of the same name with another one is refused.

    Attributes:
        name: of the study, also of its folder.
        space: the resolved space as plain data.
        recipe: the recipe as plain data.
        data: name, fingerprint, input shape, classes and the size of each split.
        study_seed: with the replicate, the source of all noise.
        search: how a search goes about it (rungs, sampler, objectives); None for a sweep.
        objectives: the costs that are to be small, beside an accuracy that is to be large.
        init: the weights that every candidate starts from (file, digest); None for none.
        teacher: the weights whose scores are learnt from (file, digest); None for none.
    """

    name: str
    space: Mapping[str, Any]
    recipe: Mapping[str, Any]
    data: Mapping[str, Any]
    study_seed: int = 0
    search: Mapping[str, Any] | None = None
    objectives: tuple[str, ...] = ("params_count",)
    init: Mapping[str, Any] | None = None
    teacher: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for YAML and JSON."""
        kind: dict[str, Any] = {}
        if self.search is not None:
            kind = {"kind": "search", "search": dict(self.search)}
        if self.init is not None:
            kind["init"] = dict(self.init)
        if self.teacher is not None:
            kind["teacher"] = dict(self.teacher)
        return {
            "study": self.name,
            "study_seed": self.study_seed,
            "space": dict(self.space),
            "recipe": dict(self.recipe),
            "data": dict(self.data),
            **kind,
        }


@dataclass(frozen=True, kw_only=True)
class _HeldData:
    """What a record must say of its data."""

    images: Mapping[str, Any] = field(metadata=formerly("pictures"))
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Held:
    """What a record must say of its study; `check_same` compares all that it says."""

    study: Name
    study_seed: Seed
    space: Mapping[str, Any]
    recipe: Mapping[str, Any]
    data: _HeldData
    kind: str = "sweep"
    search: Mapping[str, Any] = field(default_factory=dict)
    init: Mapping[str, Any] = field(default_factory=dict)
    teacher: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (family := self.space.get("family")) not in FAMILIES:
            known = ", ".join(FAMILIES)
            raise ValueError(f"space.family is {family!r}, but must be one of {known}")
        missing = {"train", "validation", "test"} - self.data.images.keys()
        if missing:
            raise ValueError(f"data.images lacks {', '.join(sorted(missing))}")


def check_definition(held: Any, place: str) -> None:
    """Refuse a definition from a record that no study has.

    Raises:
        StudyError: every problem, with the place in front.
    """
    from_dict(_Held, held, place)


def data_facts(dataset: Dataset | DataDescription) -> dict[str, Any]:
    """What a definition says of its data, as far as it is known."""
    if isinstance(dataset, DataDescription):
        return {
            "input_shape": list(dataset.input_shape),
            "classes": list(dataset.classes),
            "train_count": dataset.train_count,
        }
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "input_shape": list(dataset.input_shape),
        "classes": list(dataset.classes),
        "images": {
            "train": len(dataset.train),
            "validation": len(dataset.validation),
            "test": len(dataset.test),
        },
    }


def described_data(dataset: Dataset) -> dict[str, Any]:
    """What `study.yaml` says of its data: the definition's facts, and what follows from them."""
    counts = {split: list(of_class) for split, of_class in dataset.class_counts.items()}
    return {
        **data_facts(dataset),
        "class_counts": counts,
        "duplicates": dict(dataset.duplicates),
    }


def check_same(where: object, wanted: Mapping[str, Any], held: Mapping[str, Any]) -> None:
    """Refuse to go on with a study that holds something else.

    Args:
        where: folder or database of the study, as messages name it.
        wanted: a definition as plain data; one made from a `DataDescription` is compared as
            far as it knows the data: where broken images changed their number, nothing that
            may follow from that.
        held: that of the study.

    Raises:
        StudyMismatchError: with a line for each difference.
    """
    wanted, held = _comparable(wanted), _comparable(held)
    if "train_count" in wanted["data"]:
        is_as_described = wanted["data"].pop("train_count") == held["data"]["images"]["train"]
        for name in () if is_as_described else ("recipe", "search"):
            del wanted[name], held[name]
        held["data"] = {name: held["data"].get(name) for name in wanted["data"]}
    lines = list(differences("", wanted, held))
    if not lines:
        return
    if lines[0].startswith("kind:"):  # what follows from it says nothing more
        lines = [line for line in lines if not line.startswith("search.")]
    raise StudyMismatchError(
        f"{where} holds another study; nothing was changed. It differs in:\n"
        + "\n".join(f"  {line}" for line in lines)
        + "\nchoose another --study name, or repeat the command that made it"
    )


def check_trained_alike(
    directory: Path, wanted: Mapping[str, Any], held: Mapping[str, Any]
) -> None:
    """Refuse to import trials that were trained in another way.

    Raises:
        StudyMismatchError: with a line for each difference.
    """
    names = ("recipe", "data", "study_seed", "init", "teacher")
    sides = ({name: _comparable(side).get(name) for name in names} for side in (wanted, held))
    if lines := list(differences("", *sides)):
        raise StudyMismatchError(
            f"--reuse {directory}: its candidates were not trained as this study's are. It "
            "differs in:\n"
            + "\n".join(f"  {line}" for line in lines)
            + "\nleave it out, or take its recipe and data"
        )


def _comparable(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A definition without its name and the words about it, which may change at any time.

    So may the folder's name: data are what their fingerprint says. Version 0.1 called the number
    of images `pictures`.
    """
    space = {key: value for key, value in definition["space"].items() if key != "description"}
    data = {"images" if k == "pictures" else k: v for k, v in definition["data"].items()}
    data.pop("name", None)
    given = {"kind": "sweep", "search": {}, **definition}
    weights = {
        name: {"digest": (definition.get(name) or {}).get("digest")} for name in ("init", "teacher")
    }
    return given | {"space": space, "data": data, "study": None, **weights}


def differences(path: str, wanted: Any, held: Any) -> Iterator[str]:
    """Lines that say where two plain structures differ."""
    if isinstance(wanted, Mapping) and isinstance(held, Mapping):
        for name in dict.fromkeys([*wanted, *held]):
            inner = f"{path}.{name}" if path else str(name)
            yield from differences(inner, wanted.get(name), held.get(name))
    elif _as_lists(wanted) != _as_lists(held):
        yield f"{path}: {_as_lists(wanted)} wanted, {_as_lists(held)} in the study"


def _as_lists(value: Any) -> Any:
    return [_as_lists(v) for v in value] if isinstance(value, list | tuple) else value
