"""Blocks: how primitives stand together; what a family yields.

A block is a primitive, a `Sequential`, a `Concat`, a `Residual`, or a `Module` that names
several of these as one row of the layer table. Blocks know no shapes: `architecture.assemble`
lays them out as one graph.
"""

from __future__ import annotations

from dataclasses import dataclass

from dse.architecture.primitives import Conv, Dense, Primitive


@dataclass(frozen=True, init=False)
class Sequential:
    """One block behind the other; without any, the map itself."""

    blocks: tuple[Block, ...]

    def __init__(self, *blocks: Block) -> None:
        object.__setattr__(self, "blocks", blocks)


@dataclass(frozen=True, init=False)
class Concat:
    """Several blocks on the same map, their channels one behind the other.

    Attributes:
        name: of the joined map.
        blocks: whose results it joins.
    """

    name: str
    blocks: tuple[Block, ...]

    def __init__(self, name: str, *blocks: Block) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "blocks", blocks)


@dataclass(frozen=True)
class Residual:
    """A block to whose result the map itself is added, or what `shortcut` makes of it.

    Attributes:
        name: of the sum.
        body: the block that is bypassed.
        shortcut: as usual the identity (a simple bypass); else a complex one.
    """

    name: str
    body: Block
    shortcut: Block = Sequential()


@dataclass(frozen=True)
class Module:
    """A block that stands as one row in the layer table.

    Attributes:
        name: `fire2`: the first part of the names in it.
        kind: what its row is called.
        body: what it does.
    """

    name: str
    kind: str
    body: Block

    @property
    def summary(self) -> str:
        """Kind and widths: `fire 16→64+64 simple`."""
        return f"{self.kind.lower()} {_widths(self.body)}"


Block = Primitive | Sequential | Concat | Residual | Module


def _widths(block: Block) -> str:
    """Filters: → one behind the other, + side by side, then the kind of a bypass."""
    match block:
        case Conv(filters=width) | Dense(features=width):
            return str(width)
        case Sequential(blocks=blocks):
            return "→".join(filter(None, map(_widths, blocks)))
        case Concat(blocks=blocks):
            return "+".join(map(_widths, blocks))
        case Residual(body=body, shortcut=shortcut):
            kind = "complex" if _widths(shortcut) else "simple"
            return f"{_widths(body)} {kind}".lstrip()
        case Module(body=body):
            return _widths(body)
    return ""
