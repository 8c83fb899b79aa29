"""What a release promises about itself and how a device checks it (clause 5.3-d, design decision 8)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from modelota.spec.limits import PROMPT_MAX_CHARS, SELF_TESTS_MAX

Prompt = Annotated[str, Meta(min_length=1, max_length=PROMPT_MAX_CHARS)]
Identifier = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer must look like. No regular expressions: the checker never runs a pattern from outside.

    Attributes:
        kind: `contains` (any of `values` is in the answer), `contains_all`, `equals` (the stripped answer is one of
            them), `absent` (none is in the answer).
        values: the texts to look for.
        ignore_case: compare case-folded.
    """

    kind: Literal["contains", "contains_all", "equals", "absent"]
    values: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=2000)], ...], Meta(min_length=1, max_length=64)
    ]
    ignore_case: bool = False


class FunctionalTest(msgspec.Struct, frozen=True, kw_only=True):
    """Ask once at temperature 0 through the chat endpoint; check the answer.

    Attributes:
        id: unique within the release.
        prompt: the user's message.
        check: what the answer must look like.
        max_tokens: the answer is cut there.
        core: belongs to the core interfaces that every later release must keep (clause 6.4-a).
    """

    id: Identifier
    prompt: Prompt
    check: Check
    max_tokens: Annotated[int, Meta(ge=1, le=4096)] = 64
    core: bool = False


class PerplexityTest(msgspec.Struct, frozen=True, kw_only=True):
    """The model must find `text` unsurprising: perplexity over its tokens at most `max`."""

    text: Prompt
    max: Annotated[float, Meta(gt=0)]


class PerformanceTest(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on speed and memory; a bound left at None is not checked.

    Absolute: `max_first_token_s`, `min_tokens_per_s`, `max_memory_bytes` (sum of PSS over the engine's process tree).
    Relative to the version in use, measured in the same minutes by interleaved runs: `min_speed_ratio`,
    `max_first_token_ratio`, `max_memory_ratio`. Relative bounds are skipped on a first install.
    """

    prompt: Prompt = "Hello"
    tokens: Annotated[int, Meta(ge=1, le=4096)] = 32
    max_first_token_s: Annotated[float, Meta(gt=0)] | None = None
    min_tokens_per_s: Annotated[float, Meta(gt=0)] | None = None
    max_memory_bytes: Annotated[int, Meta(gt=0)] | None = None
    min_speed_ratio: Annotated[float, Meta(gt=0)] | None = None
    max_first_token_ratio: Annotated[float, Meta(gt=0)] | None = None
    max_memory_ratio: Annotated[float, Meta(gt=0)] | None = None


class SelfTests(msgspec.Struct, frozen=True, kw_only=True):
    """All self-tests of a variant. An empty one is refused at publishing: a release must be able to prove itself."""

    functional: Annotated[tuple[FunctionalTest, ...], Meta(max_length=SELF_TESTS_MAX)] = ()
    perplexity: PerplexityTest | None = None
    performance: PerformanceTest | None = None
