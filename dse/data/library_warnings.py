"""What libraries warn of while they work on one image, heard in whatever thread they work."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

from PIL import Image

_LIMITED = Image.DecompressionBombWarning  # `dse.data.opening` has limits of its own
_lock = threading.Lock()
_heard: dict[int, list[str]] = {}  # by thread
_python_state = contextlib.ExitStack()  # what the first listener changed and the last restores


@contextlib.contextmanager
def library_warnings() -> Iterator[list[str]]:
    """Collect the warnings of this thread, each text once; others are shown as ever.

    Python keeps filters and output for all threads together: `warnings.catch_warnings` in
    several of them leaves a mess, and a filter "error" would make broken images of good ones.
    """
    said: list[str] = []
    with _lock:
        if not _heard:
            _python_state.enter_context(warnings.catch_warnings())
            warnings.simplefilter("always")
            show = warnings.showwarning

            def route(message: Warning | str, *args: object, **options: object) -> None:
                mine = _heard.get(threading.get_ident())
                if mine is None:
                    show(message, *args, **options)  # type: ignore[arg-type]
                elif not isinstance(message, _LIMITED):
                    text = " ".join(str(message).split())
                    mine += [text] * (text not in mine)

            warnings.showwarning = route
        _heard[threading.get_ident()] = said
    try:
        yield said
    finally:
        with _lock:
            del _heard[threading.get_ident()]
            if not _heard:
                _python_state.close()
