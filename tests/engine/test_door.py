"""The plain openai client before an endpoint's door, with workers of ours as real processes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from mercato.engine.door import BLOCK_BYTES, Door, _Body, _chain, _cost
from mercato.serverless.prefix import CHAIN_MAX
from tests.engine.street import ACCOUNT_KEY, KEY, Street

ASK: Any = [{"role": "user", "content": "say hello"}]


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    async with Street.up(tmp_path, "ours") as street:
        yield street


def client(street: Street, path: str = "/v1", key: str = KEY) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=street.url + path, api_key=key, max_retries=0)


@pytest.mark.slow
async def test_the_plain_client_chats_streams_embeds_and_lists(street: Street) -> None:
    for path, key, model in (
        ("/v1", KEY, "whatever"),
        ("/v1", ACCOUNT_KEY, "llm"),
        ("/openai/llm/v1", ACCOUNT_KEY, "whatever"),
    ):
        async with client(street, path, key) as api:
            chat = await api.chat.completions.create(model=model, messages=ASK)
            assert chat.choices[0].message.content == "hello"
            pieces: Any = await api.chat.completions.create(model=model, messages=ASK, stream=True)
            said = [piece.choices[0].delta.content async for piece in pieces]
            assert said == ["hel", "lo"]
            vector = await api.embeddings.create(model=model, input=["x"], encoding_format="float")
            assert vector.data[0].embedding == [0.5, 0.25]
            assert [row.id async for row in api.models.list()] == ["llm"]
    await street.until_nothing_is_here()

    # A worker that dies costs nobody an answer; its place is taken by another.
    async with client(street) as api:
        await street.kill("worker1")
        asked = [api.chat.completions.create(model="x", messages=ASK) for _ in range(20)]
        answers = await asyncio.gather(*asked)
        assert {answer.choices[0].message.content for answer in answers} == {"hello"}

    # What is wrong is said as that client expects it.
    async with client(street, key="wrong") as api:
        with pytest.raises(openai.AuthenticationError):
            await api.chat.completions.create(model="x", messages=ASK)
    async with client(street, key=ACCOUNT_KEY) as api:
        with pytest.raises(openai.NotFoundError, match="no endpoint 'gpt-4'"):
            await api.chat.completions.create(model="gpt-4", messages=ASK)
    async with client(street, "/openai/llm/v2") as api:
        with pytest.raises(openai.NotFoundError):
            await api.models.list()

    # Who hangs up leaves nothing behind.
    async with client(street) as api:
        with contextlib.suppress(openai.APITimeoutError):
            await api.completions.create(model="x", prompt="x", timeout=0.001)
    await street.until_nothing_is_here()


@pytest.mark.parametrize(
    ("path", "body", "cost"),
    [
        ("/v1/completions", {"max_tokens": 7}, 7.0),
        ("/v1/completions", {}, 256.0),
        ("/v1/completions", {"max_completion_tokens": 5, "n": 2}, 10.0),
        ("/v1/embeddings", {"input": "four" * 10}, 10.0),
        ("/v1/embeddings", {"input": ["four", "x"]}, 2.0),
        ("/v1/embeddings", {}, 1.0),
    ],
)
def test_a_request_costs_the_tokens_that_it_may_make_or_must_read(
    path: str, body: dict[str, object], cost: float
) -> None:
    assert _cost(msgspec.convert(body, _Body), path) == cost


def test_39_prompts_that_begin_alike_have_chains_that_begin_alike() -> None:
    talk = b"[" + b'{"role":"user","content":"' + b"sea " * 3_000
    once, longer, other = _chain(talk), _chain(talk + b"more " * 2_000), _chain(b"x" + talk)
    assert len(once) == len(talk) // BLOCK_BYTES
    assert longer[: len(once)] == once
    assert len(longer) > len(once)
    assert not set(once) & set(other)
    assert _chain(talk[: BLOCK_BYTES - 1]) == ()
    assert len(_chain(b"x" * 10_000_000)) == CHAIN_MAX


def test_the_door_knows_its_own_paths_only() -> None:
    door = Door(None, None)  # type: ignore[arg-type]
    assert door.knows("/v1/models")
    assert door.knows("/openai/llm/v1/chat/completions")
    assert not door.knows("/v1/instances")
    assert not door.knows("/api/v1/models")
