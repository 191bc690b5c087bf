"""Requests and responses that are lost on their way: a call is drawn once, its images arrive, and its cost is true."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Request, Response, Route, expect

from tests.browser.playground import Playground
from tests.browser.site import Site

CALLS = re.compile(r"/v1/images/\w+/async$")
TASK = re.compile(r"/v1/images/tasks/\w+\?wait=")


@pytest.fixture
def playground(page: Page, site: Site) -> Playground:
    return Playground(page).open(site.new_key())


def is_call(request: Request) -> bool:
    return request.method == "POST"


def is_replay(response: Response) -> bool:
    return "idempotent-replayed" in response.headers


def draw_new(playground: Playground, prompt: str) -> str:
    """Draw, wait for the end, and return the idempotency key of the call."""
    with playground.page.expect_request(is_call) as sent:
        playground.draw(prompt)
    expect(playground.draw_button).to_be_visible()
    expect(playground.error).to_have_count(0)
    return str(sent.value.headers["idempotency-key"])


def test_a_call_is_repeated_until_it_is_drawn_and_then_made_anew(playground: Playground) -> None:
    failed: list[str] = []

    def fail(route: Route) -> None:
        failed.append(route.request.headers["idempotency-key"])
        route.abort()

    playground.page.route(CALLS, fail)
    playground.draw("A pier")
    expect(playground.error).to_contain_text("network")
    playground.page.unroute(CALLS)
    assert len(failed) > 1
    keys = [draw_new(playground, "A pier") for _ in range(3)]
    assert set(failed) == {keys[0]}
    assert len(set(keys)) == 3


def test_the_cost_of_a_call_whose_first_response_was_lost(playground: Playground) -> None:
    lost: list[str] = []

    def lose_first(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch().headers["x-request-id"])
        route.abort()

    playground.page.route(CALLS, lose_first)
    with playground.page.expect_response(is_replay) as replay:
        playground.draw("A pier")
    expect(playground.page.get_by_text("Cost 0.01 USD. Balance 0.99 USD.").first).to_be_visible()
    assert replay.value.headers["x-request-id"] == lost[0]


@pytest.mark.parametrize("path", [CALLS, TASK], ids=["call", "task"])
def test_a_response_that_is_cut_short_is_asked_for_again(playground: Playground, path: re.Pattern[str]) -> None:
    cut: list[str] = []

    def cut_first(route: Route) -> None:
        if cut:
            route.continue_()
            return
        response = route.fetch()
        cut.append(response.text()[:-9])
        route.fulfill(response=response, body=cut[0])

    playground.page.route(path, cut_first)
    playground.draw("A pier")
    expect(playground.images).to_have_count(1)
    assert len(cut) == 1


def test_a_kept_image_that_is_cut_short_leaves_its_url(playground: Playground) -> None:
    """The other images of the call are shown all the same."""
    source = playground.page.locator("script[src*=playground]").get_attribute("src") or ""
    sorted_items = playground.page.evaluate(
        """async (url) => {
            const { sortAnswer } = await import(url);
            Response.prototype.blob = () => Promise.reject(new TypeError("cut"));
            const { images, urls } = await sortAnswer([{ url: `${location.origin}/` }, { b64_json: "/9g=" }]);
            return [images.length, urls];
        }""",
        source.replace("main.js", "answer.js"),
    )
    assert sorted_items == [1, [playground.page.url]]


@pytest.mark.parametrize("failures", [0, 1], ids=["sending", "pause"])
def test_a_call_that_was_cancelled_while_it_was_sent_is_drawn_by_the_next_press(
    playground: Playground, failures: int
) -> None:
    page = playground.page
    sent: list[Request] = []

    def hold(route: Route) -> None:
        sent.append(route.request)
        if len(sent) <= failures:
            route.abort()

    page.route(CALLS, hold)
    with page.expect_event("requestfailed" if failures else "request", is_call):
        playground.draw("A pier")
    playground.cancel_button.click()
    expect(page.get_by_text("Cancelled while it was sent.")).to_be_visible()
    page.unroute(CALLS)
    assert draw_new(playground, "A pier") == sent[0].headers["idempotency-key"]
    expect(playground.images).to_have_count(1)


def test_a_key_that_is_revoked_while_its_call_is_drawn(playground: Playground) -> None:
    """The call goes on: the page may not say that it cost nothing."""
    page = playground.page

    def send_with_another_key(route: Route) -> None:
        route.continue_(headers={**route.request.headers, "authorization": "Bearer another"})

    page.route(TASK, send_with_another_key)
    with page.expect_response(CALLS) as begun:
        playground.draw("A pier")
    expect(playground.error).to_contain_text("invalid_api_key")
    expect(playground.error).to_contain_text("it goes on, and may be charged")
    expect(playground.error).to_contain_text(f"GET /v1/images/tasks/{begun.value.json()['id']}")
    expect(playground.error).not_to_contain_text("cost nothing")


def test_a_call_waits_for_the_models_of_the_key(page: Page, site: Site) -> None:
    """Draw may be pressed before the page knows them."""
    held: list[Route] = []
    page.route("**/v1/models", lambda route: held.append(route))
    playground = Playground(page).open(site.new_key())
    playground.draw("a lighthouse")
    expect(playground.cancel_button).to_be_visible()
    assert held
    for route in held:
        route.continue_()
    expect(playground.images).to_have_count(1)
