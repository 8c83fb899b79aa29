"""The child process that runs llama.cpp: `python -m modelota.runtime.llamacpp_child`, specification on standard input.

Serves llama-server's HTTP interface on one Unix socket and on nothing else.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Final

from modelota.runtime import child
from modelota.runtime.protocol import EngineSpec

_WARNINGS: Final = 2  # llama.cpp's verbosity: warnings and errors; higher levels may print what users wrote


def main() -> None:
    """Verify, load, serve until the parent ends or asks."""
    os.umask(0o077)  # before anything creates the socket
    opened = child.begin()
    spec = opened.spec
    try:
        import xllamacpp  # noqa: PLC0415  only after the files are verified, and never in the supervisor
    except ImportError as error:
        child.give_up(child.EXIT_NOT_STARTED, f"xllamacpp cannot be imported: {error}")
    socket_path = Path(spec.socket_path)
    socket_path.unlink(missing_ok=True)
    # Relative names keep within the 107 bytes of a socket address, wherever the device root is.
    os.chdir(socket_path.parent)
    try:
        adapters = [xllamacpp.CommonAdapterLoraInfo(opened.path(path), 1.0) for path in spec.adapters]
        params = _parameters(xllamacpp.CommonParams(), spec, opened.entry(), socket_path.name)
        if adapters:
            params.lora_adapters = adapters
        server = xllamacpp.Server(params)
    except (RuntimeError, ValueError, OSError) as error:
        child.give_up(child.EXIT_NOT_STARTED, str(error))
    threading.Event().wait()  # SIGTERM, or the end of standard input, ends the process
    del server


def _parameters(params: Any, spec: EngineSpec, entry: str, address: str) -> Any:  # noqa: ANN401  xllamacpp is untyped
    """Options of llama-server for this specification; the rest stays at its defaults."""
    params.model.path = entry
    params.model_alias = {spec.model_alias}
    params.hostnames = [address]
    params.n_gpu_layers = 0
    params.n_parallel = 1
    params.cpuparams.n_threads = spec.threads
    params.cpuparams_batch.n_threads = spec.threads
    params.n_threads_http = 2
    params.n_ctx = spec.context_tokens or 0  # 0: what the model was trained with
    params.fit_params = False  # a plan that does not fit must fail, not shrink
    params.no_extra_bufts = True  # no second, repacked copy of the weights (llama.cpp#16761)
    params.cache_ram_mib = 0  # the default keeps up to 8 GiB of old prompts in memory
    params.warmup = False
    params.offline = True
    params.verbosity = _WARNINGS
    params.endpoint_slots = False  # would show one application the prompt of another
    params.ui = False
    params.cors_origins = ""
    return params


if __name__ == "__main__":
    main()
