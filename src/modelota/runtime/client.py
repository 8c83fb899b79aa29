"""Asking an engine: chat, timed token by token; perplexity; health."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from modelota.clock import Clock, SystemClock
from modelota.errors import TryLater
from modelota.runtime.http_client import request, stream
from modelota.runtime.messages import events

PERPLEXITY_POSITIONS_MAX: Final = 512
_VOCABULARY_MAX: Final = 32_768  # a larger one is not asked for as a whole: megabytes per position
_EXPONENT_MAX: Final = 700.0  # exp of more is no float any more
_FORCE: Final = 1.0e6  # added to a token's logit: more than any model's logits differ
_ANSWER_MAX_CHARS: Final = 1 << 20
_SMALL_BYTES: Final = 1 << 20


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer and how fast it came.

    Attributes:
        text: what the model said.
        first_token_s: from sending the request to the first piece of text, or None when there was no text.
        tokens: how many were generated, as the engine counts; pieces received where it does not say.
        duration_s: from sending the request to the end of the answer.
    """

    text: str
    first_token_s: float | None
    tokens: int
    duration_s: float

    @property
    def tokens_per_s(self) -> float | None:
        """Speed of the whole answer, or None when nothing came.

        Over the whole duration, not from the first token on: a fast engine's pieces arrive together, and the time
        between them then says nothing.
        """
        return self.tokens / max(self.duration_s, 1e-9) if self.tokens else None


class EngineClient:
    """Talks to one engine.

    Args:
        socket_path: where it serves.
        label: name of its slot, for errors.
        clock: what durations are measured with.
        timeout_s: the longest silence of the engine.
    """

    def __init__(
        self, socket_path: Path, *, label: str = "", clock: Clock | None = None, timeout_s: float = 120.0
    ) -> None:
        self._socket_path = socket_path
        self._label = label
        self._clock = clock or SystemClock()
        self._timeout_s = timeout_s
        self._vocabulary: int | None = None
        self._plain: int | None = None

    async def health(self) -> bool:
        """Whether it answers that it is ready."""
        try:
            answer = await request(self._socket_path, "GET", "/health", timeout_s=self._timeout_s)
        except TryLater:
            return False
        return answer.status == 200

    async def chat(
        self,
        prompt: str | Sequence[Mapping[str, str]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        whole_length: bool = False,
        fresh: bool = False,
    ) -> Answer:
        """Ask once through `POST /v1/chat/completions`, streamed.

        Args:
            prompt: the user's message, or all messages.
            max_tokens: the answer is cut there.
            temperature: 0 is greedy.
            whole_length: do not stop before `max_tokens` (an extension; engines without it ignore it).
            fresh: do not reuse the state of an earlier prompt, which would flatter the first token (likewise).

        Raises:
            TryLater: `peer-unreachable`, `peer-timeout` or `peer-protocol`: it ended, fell silent, or answered with an
                error.
        """
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        body: dict[str, Any] = {
            "messages": messages,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if whole_length:
            body["ignore_eos"] = True
        if fresh:
            body["cache_prompt"] = False
        started = self._clock.monotonic()
        first: float | None = None
        parts: list[str] = []
        counted: int | None = None
        async for piece in self._pieces(body):
            if piece.text:
                first = self._clock.monotonic() - started if first is None else first
                parts.append(piece.text)
            counted = piece.tokens if piece.tokens is not None else counted
        return Answer(
            text="".join(parts)[:_ANSWER_MAX_CHARS],
            first_token_s=first,
            tokens=len(parts) if counted is None else counted,
            duration_s=self._clock.monotonic() - started,
        )

    async def perplexity(self, text: str) -> float:
        """Perplexity of `text`: exp of the mean negative log-likelihood in nats per token, after the start token.

        llama-server gives no log-probabilities of a prompt. So each position asks for one token, made to be the text's
        own by a bias on its logit; the log-probability reported with it is the model's, before the bias. With the
        cached prompt that is one step per position, and an answer of a few hundred bytes whatever the vocabulary.
        At most `PERPLEXITY_POSITIONS_MAX` positions count; with a vocabulary beyond 32768, tokens that are parts of a
        character do not.

        Raises:
            TryLater: as `chat`; `peer-protocol` also when the engine does not report what was asked.
        """
        tokens = await self._tokenize(text)
        if len(tokens) < 2:
            raise self._unexpected("a text of at least one token is needed")
        logs = [await self._log_probability(tokens[:position], tokens[position]) for position in range(1, len(tokens))]
        scored = [log for log in logs if log is not None]
        if not scored:
            raise self._unexpected("no position could be scored")
        return math.exp(min(-sum(scored) / len(scored), _EXPONENT_MAX))

    async def _tokenize(self, text: str) -> list[int]:
        """Token ids with the model's start token before them, at most the scored positions and one."""
        answer = await self._post("/tokenize", {"content": text, "add_special": True})
        tokens = answer.get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise self._unexpected("no token ids")
        return tokens[: PERPLEXITY_POSITIONS_MAX + 1]

    async def _log_probability(self, before: list[int], token: int) -> float | None:
        """The model's log-probability of `token` after `before`; None where it cannot be had.

        An engine reports nothing about a token that is only part of a character. Those are looked up among the
        probabilities of the whole vocabulary, if that is not too large to ask for.
        """
        found = await self._first_position(before, token, report=1)
        if found is not None:
            if found.id != token:
                raise self._unexpected(f"token {found.id} where {token} was forced")
            return found.logprob
        size = await self._vocabulary_size()
        if size > _VOCABULARY_MAX:
            return None
        whole = await self._first_position(before, await self._plain_token(), report=size)
        if whole is None:
            raise self._unexpected("no log-probability")
        return next((entry.logprob for entry in whole.top_logprobs if entry.id == token), None)

    async def _first_position(self, before: list[int], forced: int, *, report: int) -> _Position | None:
        body = {
            "prompt": before,
            "n_predict": 1,
            "n_probs": report,
            "temperature": 1.0,
            "samplers": ["temperature"],
            "logit_bias": [[forced, _FORCE]],
            "cache_prompt": True,
        }
        answer = await self._post("/completion", body)
        try:
            positions = msgspec.convert(answer, _Scored).completion_probabilities
        except msgspec.ValidationError as error:
            raise self._unexpected("no log-probability") from error
        return positions[0] if positions else None

    async def _vocabulary_size(self) -> int:
        if self._vocabulary is None:
            answer = await request(self._socket_path, "GET", "/v1/models", timeout_s=self._timeout_s)
            try:
                self._vocabulary = msgspec.json.decode(answer.body, type=_Models).data[0].meta.n_vocab
            except (msgspec.MsgspecError, IndexError) as error:
                raise self._unexpected("no vocabulary size") from error
        return self._vocabulary

    async def _plain_token(self) -> int:
        """Some token that is whole characters."""
        if self._plain is None:
            answer = await self._post("/tokenize", {"content": "a", "add_special": False})
            self._plain = int(answer["tokens"][-1])
        return self._plain

    async def _post(self, path: str, body: object) -> dict[str, Any]:
        answer = await request(
            self._socket_path,
            "POST",
            path,
            msgspec.json.encode(body),
            timeout_s=self._timeout_s,
            limit_bytes=_SMALL_BYTES * 8,
        )
        if answer.status != 200:
            raise self._unexpected(f"{path}: status {answer.status}")
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise self._unexpected(f"{path}: {error}"[:200]) from error

    async def _pieces(self, body: object) -> AsyncIterator[_Piece]:
        async with stream(
            self._socket_path,
            "POST",
            "/v1/chat/completions",
            msgspec.json.encode(body),
            idle_timeout_s=self._timeout_s,
        ) as answer:
            if answer.status != 200:
                raise self._unexpected(f"status {answer.status}")
            if "text/event-stream" not in answer.headers.get("content-type", ""):
                raise self._unexpected("not an event stream")
            async for event in events(answer.chunks):
                if event.data == "[DONE]":
                    return
                yield self._piece(event.data)

    def _piece(self, data: str) -> _Piece:
        try:
            chunk = msgspec.json.decode(data, type=_Chunk)
        except msgspec.MsgspecError as error:
            raise self._unexpected(str(error)[:200]) from error
        if chunk.error is not None:
            raise self._unexpected(str(chunk.error)[:200])
        delta = chunk.choices[0].delta if chunk.choices else _Delta()
        text = (delta.reasoning_content or "") + (delta.content or "")
        return _Piece(text=text, tokens=None if chunk.usage is None else chunk.usage.completion_tokens)

    def _unexpected(self, detail: str) -> TryLater:
        return TryLater("peer-protocol", path=self._label or str(self._socket_path), detail=detail)


class _Piece(msgspec.Struct, frozen=True):
    text: str
    tokens: int | None


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta = _Delta()


class _Usage(msgspec.Struct, frozen=True):
    completion_tokens: int


class _Chunk(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: Any = None


class _Probability(msgspec.Struct, frozen=True):
    id: int
    logprob: float


class _Position(msgspec.Struct, frozen=True):
    id: int
    logprob: float
    top_logprobs: tuple[_Probability, ...] = ()


class _Scored(msgspec.Struct, frozen=True):
    completion_probabilities: tuple[_Position, ...] = ()


class _Meta(msgspec.Struct, frozen=True):
    n_vocab: int


class _Model(msgspec.Struct, frozen=True):
    meta: _Meta


class _Models(msgspec.Struct, frozen=True):
    data: tuple[_Model, ...]
