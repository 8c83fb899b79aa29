"""llama.cpp in a child process, over a Unix socket: what `measure.py` and `check.py` ask.

The child is this file run as a script. It holds the server until its standard input closes, so it cannot outlive
whoever started it.
"""

from __future__ import annotations

import http.client
import json
import math
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CONTEXT = 256
START_TIMEOUT_S = 60.0
REQUEST_TIMEOUT_S = 60.0


class _UnixConnection(http.client.HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=REQUEST_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """A running model: use as a context manager.

    Args:
        model: path of a GGUF file.
        adapter: path of a low-rank adapter for it, or None.
        threads: threads that compute; results do not depend on it for models this small.

    Raises:
        RuntimeError: on entering, when the engine ends or does not answer in `START_TIMEOUT_S`.
    """

    def __init__(self, model: Path, adapter: Path | None = None, *, threads: int = 1) -> None:
        self._model, self._adapter, self._threads = model, adapter, threads

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="family-")
        self._socket = str(Path(self._folder.name) / "engine.sock")
        command = [sys.executable, __file__, str(self._model), str(self._adapter or ""), self._socket]
        self._log = (Path(self._folder.name) / "log").open("w+b")
        self._child = subprocess.Popen(
            [*command, str(self._threads)], stdin=subprocess.PIPE, stdout=self._log, stderr=self._log
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                status, _ = self._request("GET", "/health", None)
            except OSError:
                status = 0
            if status == 200:
                return self
            if self._child.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                tail = self._log.read()[-2000:].decode(errors="replace")
                self.__exit__(None, None, None)
                raise RuntimeError(f"llama.cpp did not start with {self._model}: {tail}")
            time.sleep(0.02)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child.stdin is not None:
            self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._log.close()
        self._folder.cleanup()

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        connection = _UnixConnection(self._socket)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post JSON, get JSON.

        Raises:
            RuntimeError: when the engine answers anything but 200.
        """
        status, data = self._request("POST", path, body)
        if status != 200:
            raise RuntimeError(f"llama.cpp answered {path} with {status}: {data[:500]!r}")
        answer: dict[str, Any] = json.loads(data)
        return answer

    def chat(self, question: str, *, max_tokens: int = 48) -> str:
        """The answer to one question, greedily."""
        body = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": max_tokens}
        content: str = self.post("/v1/chat/completions", body)["choices"][0]["message"]["content"]
        return content

    def tokenize(self, text: str) -> list[int]:
        """The engine's token ids of `text`, without `<s>`."""
        ids: list[int] = self.post("/tokenize", {"content": text, "add_special": False})["tokens"]
        return ids

    def perplexity(self, text: str, vocabulary: int) -> float:
        """The exponential of the mean negative log-likelihood per token, in nats, of `text` after `<s>`.

        The server gives no log-probabilities of a prompt, so each position asks for one token with the
        probabilities of the whole vocabulary; the cached prompt makes that one step each.
        """
        ids: list[int] = self.post("/tokenize", {"content": text, "add_special": True})["tokens"]
        total = 0.0
        for i in range(1, len(ids)):
            body = {"prompt": ids[:i], "n_predict": 1, "n_probs": vocabulary, "temperature": 1.0, "cache_prompt": True}
            position = self.post("/completion", body)["completion_probabilities"][0]
            total -= next(entry["logprob"] for entry in position["top_logprobs"] if entry["id"] == ids[i])
        return math.exp(total / (len(ids) - 1))


def serve(model: str, adapter: str, address: str, threads: int) -> None:
    """Serve `model` on the Unix socket `address` until standard input closes."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    if adapter:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(adapter, 1.0)]
    params.hostnames = [address]
    params.n_ctx = CONTEXT
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.no_extra_bufts = True  # no second, repacked copy of the weights
    params.cache_ram_mib = 0
    params.warmup = False
    server = xllamacpp.Server(params)
    sys.stdin.buffer.read()
    del server


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
