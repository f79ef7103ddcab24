"""The classes of one folder: the names of its folders, or what a file beside its images says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dse.data.annotations import label_file, read_labels
from dse.data.decode import shown
from dse.data.names import normalized, split_of
from dse.data.tree import File, Tree, join
from dse.text import counted, some_of

IMAGE_FOLDERS = frozenset({"images", "image", "imgs", "img", "jpegimages"})


@dataclass(frozen=True)
class Part:
    """One part of a tree: the whole of it, or train/, val/ or test/.

    Attributes:
        directory: where its class folders lie.
        files: of each class that has any, sorted; their paths are below `directory`.
        notes: what was passed over in it, and why.
        is_listed: whether a file says the classes, not folders.
    """

    directory: str
    files: Mapping[str, Sequence[File]]
    notes: tuple[str, ...] = ()
    is_listed: bool = False


def is_readable(tree: Tree, place: str) -> bool:
    """Whether a folder holds class folders, or images with a file of their classes."""
    return not is_flat(tree, place) or image_list(tree, place) is not None


def read_part(tree: Tree, place: str) -> Part:
    """The classes of a folder.

    Raises:
        DataError: its file of classes cannot be read.
    """
    if (name := image_list(tree, place)) is not None:
        images = [_below(place, file) for file in tree.images(place)]
        files_by_row, row_notes = read_labels(join(join(tree.root, place), name), images)
        return Part(join(tree.root, place), files_by_row, row_notes, is_listed=True)
    folder, notes = tree.folders[place], list(passed_notes(tree, place))
    spellings: dict[str, list[str]] = {}
    for name in sorted(folder.folders):
        if not tree.has_images(join(place, name)):
            if name.lower() not in ("plots", "results") or tree.has_files(join(place, name)):
                notes.append(passed(tree, place, name, "it holds no images"))
        elif (reason := own(tree, join(place, name))) is not None:
            notes.append(passed(tree, place, name, reason))
        else:
            spellings.setdefault(normalized(name), []).append(name)
    files, ignored = {}, []
    for same, names in spellings.items():
        if len(names) > 1:
            notes.append(
                f"{tree.at(place)}: {counted(len(names), 'folder')} called {shown(same)} differ "
                "in Unicode normalization alone and are taken as one class"
            )
        inside = [join(place, name) for name in names]
        files[same if len(names) > 1 else names[0]] = sorted(
            _below(place, file) for name in inside for file in tree.images(name)
        )
        for name in inside:
            notes += passed_notes(tree, name, deep=True)
            ignored += [
                shown(join(below[len(place) :].lstrip("/"), other))
                for below, inner in tree.below(name)
                for other in inner.others
            ]
    if folder.images and files:
        notes.append(
            f"{tree.at(place)}: {counted(len(folder.images), 'image')} outside of the class "
            f"folders, ignored: {some_of([shown(file.path) for file in folder.images])}"
        )
    if ignored:
        are = "file is not an image and is" if len(ignored) == 1 else "files are no images and are"
        notes.append(
            f"{tree.at(place)}: {len(ignored):,} {are} ignored: {some_of(sorted(ignored))}"
        )
    return Part(join(tree.root, place), files, tuple(notes))


def passed_notes(tree: Tree, place: str, *, deep: bool = False) -> Iterable[str]:
    """Folders that were not walked, with the reason: in a folder, or anywhere below it."""
    for here, folder in tree.below(place) if deep else [(place, tree.folders[place])]:
        for name, reason in sorted(folder.passed.items()):
            yield f"{tree.at(here)}: {shown(name)} is passed over: {reason}"


def is_flat(tree: Tree, place: str) -> bool:
    """Whether the images of a folder lie in no class folders (`images/` is none)."""
    return {name.lower() for name in tree.filled(place)} <= IMAGE_FOLDERS


def image_list(tree: Tree, place: str) -> str | None:
    """The file that says the classes of a folder's images where no folders do."""
    inside = tree.filled(place)
    are_flat = not place and all(
        (split_of(name) or name.lower() in IMAGE_FOLDERS) and is_flat(tree, name) for name in inside
    )
    if not tree.has_images(place) or not (is_flat(tree, place) or are_flat):
        return None
    return label_file(tree.at(place), tree.folders[place].others)


def passed(tree: Tree, place: str, name: str, reason: str) -> str:
    """What to say of a folder that was passed over."""
    count = len(tree.images(join(place, name)))
    what = f" ({counted(count, 'image')})" if count else ""
    return f"{tree.at(place)}: {shown(name)}{what} is passed over: {reason}"


def own(tree: Tree, place: str) -> str | None:
    """Why a folder is the study's own: its results, or its plots (each PNG has its SVG)."""
    folder = tree.folders[place]
    inside = [tree.folders[join(place, name)].others for name in folder.folders]
    if any({"study.yaml", "study.db"} & set(others) for others in inside):
        return "it holds studies of dse"
    if not tree.has_images(place):
        return None
    for _, below in tree.below(place):
        twins = {name.removesuffix(".svg") for name in below.others if name.endswith(".svg")}
        names = [file.path.rpartition("/")[2] for file in below.images]
        if not all(name.endswith(".png") and name[:-4] in twins for name in names):
            return None
    return "it holds plots: each PNG has its SVG"


def _below(place: str, file: File) -> File:
    return File(file.path[len(place) + 1 :], file.size, file.mtime_ns) if place else file
