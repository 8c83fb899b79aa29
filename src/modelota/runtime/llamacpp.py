"""llama.cpp as a runtime (extra `llama`, wheels of xllamacpp). Light: only the child imports the engine."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from modelota.errors import AskPerson
from modelota.runtime.protocol import CHAT, PERPLEXITY, STREAM, EngineSpec

_PACKAGE: Final = "xllamacpp"


class LlamaCppRuntime:
    """Runs GGUF files."""

    name = "llama.cpp"

    @property
    def capabilities(self) -> frozenset[str]:
        """Chat, streamed; perplexity."""
        return frozenset({CHAT, STREAM, PERPLEXITY})

    def version(self) -> str | None:
        """Version of the installed xllamacpp (its numbers are dates, then llama.cpp's build), or None."""
        try:
            return version(_PACKAGE)
        except PackageNotFoundError:
            return None

    def child_argv(self, spec: EngineSpec) -> list[str]:
        """Run `modelota.runtime.llamacpp_child` with this interpreter; `-P` keeps its folder out of the module path.

        Raises:
            AskPerson: `runtime-missing`.
        """
        if self.version() is None:
            raise AskPerson("runtime-missing", runtime=spec.runtime, need=_PACKAGE)
        return [sys.executable, "-P", "-m", "modelota.runtime.llamacpp_child"]
