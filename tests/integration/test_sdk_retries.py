"""Unchanged OpenAI SDKs behind routers that give up before the image is drawn (contract 7.2).

A retry takes the answer of the call that the SDK has given up: one image, drawn once and charged once. The cases wait
most of their time, so they run at once, each with an API key and a router of its own.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from openai import APITimeoutError, OpenAI

from tests.integration.answer_beds import Account, Bed, billing_variables, new_account, open_storage, start_bed
from tests.integration.raw_http import MODEL, Caller
from tests.sdk.test_node_sdk import FOLDER, NODE, Sdk
from tests.support import processes
from tests.support.images import JPEG
from tests.support.nginx import needs_nginx, nginx
from tests.support.postgres_server import PostgresServer
from tests.support.processes import Served
from tests.support.prompted_minimax import PromptedMinimax, new_prompt, start_prompted_minimax
from tests.support.router import FIRST_BYTE, Router, router
from tests.support.waiting import wait_until

DRAWING_SECONDS = 7  # the router gives up after 3
RETRY = "x-stainless-retry-count: 1"
STREAMING = {"AMUX_STREAM_HEAD_SECONDS": "1", "AMUX_STREAM_HEARTBEAT_SECONDS": "1"}
needs_node = pytest.mark.skipif(
    not (NODE.exists() and (FOLDER / "node_modules" / "openai").is_dir()),
    reason="node or its openai package is missing: run scripts/install-test-tools",
)


@dataclass(frozen=True)
class RetriesBed:
    """`unjoined` is a gateway with `AMUX_JOIN_RETRIES=false`; `gateway` has the defaults. They share all else."""

    gateway: Served
    unjoined: Served
    bed: Bed

    @property
    def upstream(self) -> PromptedMinimax:
        return self.bed.upstream

    def account(self) -> Account:
        return self.bed.account()

    def router(self, stack: ExitStack, *, closes_origin: bool = True) -> Router:
        return stack.enter_context(router(self.gateway.url, closes_origin=closes_origin))


@dataclass(frozen=True)
class Outcome:
    """What a case saw. `images` are the URLs or the base64 of each image that a client got."""

    prompt: str
    accounts: tuple[Account, ...]
    images: tuple[str, ...]
    router: Router | None = None


# How each client draws. They have their defaults, two retries among them, unless `options` say otherwise.


def python_image(url: str, secret: str, prompt: str, **options: Any) -> str:
    with OpenAI(base_url=f"{url}/v1", api_key=secret, **options) as client:
        response = client.images.generate(model=MODEL, prompt=prompt)
    assert response.data is not None
    return str(response.data[0].url)


def python_edit(url: str, secret: str, prompt: str) -> str:
    """The SDK makes another form for each try; its request is the same."""
    with OpenAI(base_url=f"{url}/v1", api_key=secret) as client:
        response = client.images.edit(model=MODEL, prompt=prompt, image=("face.jpg", JPEG, "image/jpeg"))
    assert response.data is not None
    return str(response.data[0].url)


def python_stream(url: str, secret: str, prompt: str) -> str:
    with OpenAI(base_url=f"{url}/v1", api_key=secret) as client:
        events = list(client.images.generate(model=MODEL, prompt=prompt, stream=True))
    [event] = events
    assert event.type == "image_generation.completed"
    return str(event.b64_json)


def node(url: str, secret: str) -> Sdk:
    return Sdk(Served(url, None, Path()), secret)  # type: ignore[arg-type]


def node_image(url: str, secret: str, prompt: str) -> str:
    outcome = node(url, secret).call_successfully("generate", fields={"model": MODEL, "prompt": prompt})
    return outcome.images[0]["url"]


def node_stream(url: str, secret: str, prompt: str) -> str:
    outcome = node(url, secret).call_successfully("generateStream", fields={"model": MODEL, "prompt": prompt})
    [event] = outcome.response
    assert event["type"] == "image_generation.completed"
    return str(event["b64_json"])


# The cases.


def through_router(draw: Callable[[str, str, str], str], *, closes_origin: bool = True) -> Callable[..., Outcome]:
    """One image through a router, with a client's defaults."""

    def run(bed: RetriesBed, stack: ExitStack) -> Outcome:
        prompt, account = new_prompt("good", DRAWING_SECONDS), bed.account()
        front = bed.router(stack, closes_origin=closes_origin)
        return Outcome(prompt, (account,), (draw(front.url, account.secret, prompt),), front)

    return run


def impatient_client(bed: RetriesBed, stack: ExitStack) -> Outcome:
    """The client gives up by itself after 2 s, again and again, without any router."""
    prompt, account = new_prompt("good", DRAWING_SECONDS), bed.account()
    image = python_image(account.url, account.secret, prompt, timeout=2, max_retries=4)
    return Outcome(prompt, (account,), (image,))


def two_at_once(bed: RetriesBed, stack: ExitStack) -> Outcome:
    """Two identical calls of one caller; the router cuts both, and both are retried."""
    prompt, account, front = new_prompt("good", DRAWING_SECONDS), bed.account(), bed.router(stack)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(python_image, front.url, account.secret, prompt) for _ in range(2)]
    return Outcome(prompt, (account,), tuple(call.result() for call in calls), front)


@contextmanager
def abandoned(bed: RetriesBed, account: Account, prompt: str) -> Iterator[None]:
    """A call whose caller has left, as the gateway has noted. It runs until the end of the context."""
    with bed.upstream.holding(prompt):
        with Caller(account.url) as caller:
            caller.send(account.request({"model": MODEL, "prompt": prompt}))
            wait_until(lambda: bed.upstream.calls(prompt) == 1, "the call at MiniMax")
        bed.bed.wait_until_left(account)
        yield


def abandon(bed: RetriesBed, account: Account, prompt: str) -> None:
    """A call whose caller has left, and that may have ended."""
    with abandoned(bed, account, prompt):
        pass


def image_of(account: Account, prompt: str, *lines: str, **fields: Any) -> str:
    reply = account.generate(prompt, *lines, **fields)
    assert reply.status == 200, reply.body
    return str(reply.json["data"][0]["url"])


def retry_while_running(bed: RetriesBed, stack: ExitStack) -> Outcome:
    prompt, account = new_prompt("good"), bed.account()
    with ThreadPoolExecutor(1) as pool, abandoned(bed, account, prompt):
        retry = pool.submit(image_of, account, prompt, RETRY)
        bed.bed.wait_until_joined(account, 1)
    return Outcome(prompt, (account,), (retry.result(),))


def retry_after_the_end(bed: RetriesBed, stack: ExitStack) -> Outcome:
    """The answer came when its caller was gone, and was kept."""
    prompt, account = new_prompt("good"), bed.account()
    abandon(bed, account, prompt)
    account.check_charged(1)
    return Outcome(prompt, (account,), (image_of(account, prompt, RETRY),))


def second_call(bed: RetriesBed, stack: ExitStack) -> Outcome:
    """Not a retry: the caller itself calls again, after its first call has timed out."""
    prompt, account = new_prompt("good"), bed.account()
    options = {"max_retries": 0}
    with bed.upstream.holding(prompt), pytest.raises(APITimeoutError):
        python_image(account.url, account.secret, prompt, timeout=1, **options)
    return Outcome(prompt, (account,), (python_image(account.url, account.secret, prompt, **options),))


def retry_after_taken(bed: RetriesBed, stack: ExitStack) -> Outcome:
    """The first call's answer has been read, so that this retry is of a call that never arrived."""
    prompt, account = new_prompt("good"), bed.account()
    return Outcome(prompt, (account,), (image_of(account, prompt), image_of(account, prompt, RETRY)))


def retry_joined_twice(bed: RetriesBed, stack: ExitStack) -> Outcome:
    """Two first retries for one call: the second is of another call."""
    prompt, account = new_prompt("good"), bed.account()
    abandon(bed, account, prompt)
    return Outcome(prompt, (account,), tuple(image_of(account, prompt, RETRY) for _ in range(2)))


def retry_of_another_request(bed: RetriesBed, stack: ExitStack) -> Outcome:
    prompt, account = new_prompt("good"), bed.account()
    abandon(bed, account, prompt)
    return Outcome(prompt, (account,), (image_of(account, prompt, RETRY, seed=7),))


def retry_of_another_key(bed: RetriesBed, stack: ExitStack) -> Outcome:
    prompt, account, another = new_prompt("good"), bed.account(), bed.account()
    abandon(bed, account, prompt)
    return Outcome(prompt, (account, another), (image_of(another, prompt, RETRY),))


def retry_not_joined(bed: RetriesBed, stack: ExitStack) -> Outcome:
    """AMUX_JOIN_RETRIES=false"""
    prompt, account = new_prompt("good"), replace(bed.account(), url=bed.unjoined.url)
    abandon(bed, account, prompt)
    return Outcome(prompt, (account,), (image_of(account, prompt, RETRY),))


@dataclass(frozen=True)
class Case:
    """`drawn` images are made, each charged once, and shared by `accounts` evenly. `tries` are cut by the router."""

    name: str
    run: Callable[[RetriesBed, ExitStack], Outcome]
    drawn: int = 1
    cuts: list[str] = field(default_factory=list)
    marks: tuple[pytest.MarkDecorator, ...] = ()


TWO_CUTS = [FIRST_BYTE, FIRST_BYTE]
CASES = (
    Case("python, router closes", through_router(python_image), cuts=TWO_CUTS),
    Case("python, router leaves open", through_router(python_image, closes_origin=False), cuts=TWO_CUTS),
    Case("python, edit", through_router(python_edit), cuts=TWO_CUTS),
    Case("node, router closes", through_router(node_image), cuts=TWO_CUTS, marks=(needs_node,)),
    Case(
        "node, router leaves open",
        through_router(node_image, closes_origin=False),
        cuts=TWO_CUTS,
        marks=(needs_node,),
    ),
    Case("python, stream", through_router(python_stream)),
    Case("node, stream", through_router(node_stream), marks=(needs_node,)),
    Case("python, its own timeout", impatient_client),
    Case("two identical calls", two_at_once, drawn=2, cuts=TWO_CUTS * 2),
    Case("retry while it runs", retry_while_running),
    Case("retry after it ended", retry_after_the_end),
    Case("a second call is new", second_call, drawn=2),
    Case("retry of a call that was answered is new", retry_after_taken, drawn=2),
    Case("each call is joined once", retry_joined_twice, drawn=2),
    Case("retry of another request is new", retry_of_another_request, drawn=2),
    Case("retry with another API key is new", retry_of_another_key, drawn=2),
    Case("joins turned off", retry_not_joined, drawn=2),
)


@pytest.fixture(scope="module")
def retries_bed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[RetriesBed]:
    folder = tmp_path_factory.mktemp("retries")
    with start_bed("sqlite", folder, request, **STREAMING) as bed, ExitStack() as stack:
        assert bed.storage is not None
        variables = billing_variables(str(bed.storage.database.engine.url), folder) | {"AMUX_JOIN_RETRIES": "false"}
        unjoined = stack.enter_context(processes.gateway(folder, bed.upstream.url, **variables))
        yield RetriesBed(bed.gateway, unjoined, bed)


@pytest.fixture(scope="module")
def outcomes(retries_bed: RetriesBed, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """The outcome of each selected case, or its exception. All have run at once."""
    selected = {name for item in request.session.items for name in _case_names(item, request)}
    found: dict[str, Any] = {}
    with ExitStack() as stack:

        def run(case: Case) -> None:
            try:
                found[case.name] = case.run(retries_bed, stack)
            except BaseException as error:  # raised by the case's own test
                found[case.name] = error

        threads = [threading.Thread(target=run, args=(case,)) for case in CASES if case.name in selected]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield found


def _case_names(item: Any, request: pytest.FixtureRequest) -> list[str]:
    """The name of the case that this test checks, if it is one of this module that is not skipped."""
    is_skipped = any(mark.args[0] for mark in item.iter_markers("skipif"))
    case = getattr(item, "callspec", None) and item.callspec.params.get("case")
    return [case.name] if case and item.path == request.path and not is_skipped else []


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name, marks=case.marks) for case in CASES])
def test_no_image_is_lost_or_drawn_twice(case: Case, outcomes: dict[str, Any], retries_bed: RetriesBed) -> None:
    outcome = outcomes[case.name]
    if isinstance(outcome, BaseException):
        raise outcome
    assert retries_bed.upstream.calls(outcome.prompt) == case.drawn
    assert len(set(outcome.images)) == len(outcome.images), "one image for two calls"
    for account in outcome.accounts:
        account.check_charged(case.drawn // len(outcome.accounts))
    if outcome.router is not None:
        assert outcome.router.cuts == case.cuts
        assert outcome.router.requests == len(case.cuts) + len(outcome.images)


@needs_nginx
@needs_node
def test_a_retry_that_lands_on_another_instance_gets_the_image(postgres: PostgresServer, tmp_path: Path) -> None:
    """Two instances with one PostgreSQL behind nginx; each has its own folders, as on machines of their own."""
    name = uuid.uuid4().hex
    postgres.create(name, template="migrated")
    with ExitStack() as stack:
        upstream = stack.enter_context(start_prompted_minimax())
        storage = stack.enter_context(open_storage(postgres.url(name), tmp_path))
        instances = [
            stack.enter_context(
                processes.gateway(
                    tmp_path, upstream.url, WEB_CONCURRENCY="1", **billing_variables(postgres.url(name), tmp_path)
                )
            )
            for _ in range(2)
        ]
        balancer = stack.enter_context(nginx(tmp_path, *[instance.url for instance in instances]))
        front = stack.enter_context(router(balancer.url))
        accounts = [new_account(storage, front.url) for _ in range(2)]
        prompts = [new_prompt("good", DRAWING_SECONDS) for _ in accounts]
        pool = stack.enter_context(ThreadPoolExecutor(2))
        calls = [
            pool.submit(draw, front.url, account.secret, prompt)
            for draw, account, prompt in zip((python_image, node_image), accounts, prompts, strict=True)
        ]
        images = {call.result() for call in calls}

        assert len(images) == 2
        assert front.cuts == TWO_CUTS * 2
        assert [upstream.calls(prompt) for prompt in prompts] == [1, 1]
        for account in accounts:
            account.check_charged(1)
        # Three tries of two clients: of each client's, one at least was on the other instance.
        assert all('"endpoint": "/v1/images/generations"' in instance.log.read_text() for instance in instances)
    postgres.drop(name)
