"""What the names of folders say: a split, and whether two of them are the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from dse.data.splits import SplitName

SPLIT_WORDS: Mapping[str, SplitName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_WORDS_IN_NAMES: Mapping[str, SplitName] = {**SPLIT_WORDS, "dev": "validation", "trainval": "train"}
_NEUTRAL = re.compile(
    r"(data)?sets?|data|dir|folder|split|part|(image|img|pic|photo|picture|sample|file)s?"
)


def normalized(name: str) -> str:
    """A name as it is compared: two spellings of one text in Unicode are the same."""
    return unicodedata.normalize("NFC", name)


def split_of(name: str) -> tuple[SplitName, tuple[str, ...]] | None:
    """The split that a folder's name says, and its other words: seg_train is train, (seg,)."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    words = []
    for word in re.findall(r"[^\W\d_]+", apart):
        joined = re.fullmatch(r"(train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?)([a-z]+)", word)
        words.append(joined[1] if joined and _NEUTRAL.fullmatch(joined[2]) else word)
    splits = {_WORDS_IN_NAMES[word] for word in words if word in _WORDS_IN_NAMES}
    if splits == {"train", "validation"}:  # train_val: a share of it is for validation
        splits = {"train"}
    if len(splits) != 1:
        return None
    rest = (word for word in words if word not in _WORDS_IN_NAMES and not _NEUTRAL.fullmatch(word))
    return splits.pop(), tuple(rest)
