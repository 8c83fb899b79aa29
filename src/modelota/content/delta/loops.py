"""Which implementation of the loops is used here."""

from __future__ import annotations

import functools
import os
from typing import Final

from modelota.content.delta import loops_native
from modelota.content.delta.contract import Loops
from modelota.content.delta.loops_native import NativeLoops
from modelota.content.delta.loops_numpy import NumpyLoops
from modelota.errors import OurBug

LOOPS_VARIABLE: Final = "MODELOTA_DELTA_LOOPS"  # "numpy" keeps the kernel unused


@functools.cache
def loops(name: str | None = None) -> Loops:
    """The native kernel where it can be loaded, otherwise NumPy.

    Args:
        name: `native` or `numpy` demands one of the two; None chooses, and heeds the environment variable
            `MODELOTA_DELTA_LOOPS`.

    Raises:
        OurBug: `invariant-broken`: `native` was demanded and cannot be loaded.
    """
    wanted = name or os.environ.get(LOOPS_VARIABLE) or None
    library = None if wanted == "numpy" else loops_native.load_library()
    if library is not None:
        return NativeLoops(library)
    if wanted == "native":
        raise OurBug("invariant-broken", detail="the delta kernel cannot be loaded here")
    return NumpyLoops()
