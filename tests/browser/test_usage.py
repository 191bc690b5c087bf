"""The usage page: totals, chart, limits and requests of an API key, and what it says where there are none."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, Route, expect

from app.storage.database import Database
from app.storage.usage import UsageStore
from tests.browser.conftest import OpenPage
from tests.browser.site import MODEL, PRICE, Site
from tests.support import processes

MARKUP = "<img src=x onerror=alert(1)>"
LIMITS = {"requests_per_minute": 5, "images_per_minute": 10}
MILLION = 1_000_000
OLDER_PAGES = re.compile(r"/v1/usage/requests\?.*before=")


@pytest.fixture
def database(site: Site) -> Iterator[Database]:
    database = Database(f"sqlite:///{site.gateway.log.parent / 'amux.db'}")
    yield database
    database.engine.dispose()


def add_row(database: Database, key_id: int, days_ago: int, **columns: Any) -> None:
    row = {"model": MODEL, "asked": 1, "delivered": 1, "charged": PRICE, "status": 200, "code": None, "taken": "task"}
    UsageStore(database).add(
        {
            "id": uuid.uuid4().hex,
            "key_id": key_id,
            "created_at": (datetime.now(UTC) - timedelta(days=days_ago)).isoformat(),
            "request_id": f"request-{uuid.uuid4().hex}",
            "endpoint": "/v1/images/generations",
            "milliseconds": 12_345,
            "trace_id": None,
            **row,
            **columns,
        }
    )


def draw(site: Site, secret: str, n: int) -> None:
    body = {"model": MODEL, "prompt": "A lighthouse", "n": n}
    url = f"{site.url}/v1/images/generations"
    requests.post(url, json=body, headers={"Authorization": f"Bearer {secret}"}, timeout=30).raise_for_status()


def open_usage(page: Page, secret: str) -> None:
    page.goto("/usage")
    page.get_by_role("textbox", name="API key").fill(secret)
    page.get_by_role("button", name="Use key").click()


def term(page: Page, name: str) -> Any:
    """The value of a tile."""
    return page.get_by_role("term").filter(has_text=name).locator("xpath=following-sibling::dd")


def test_usage_of_a_key(page: Page, site: Site, database: Database) -> None:
    secret = site.new_key(**LIMITS)
    key_id = site.keys.get(secret).id
    draw(site, secret, 2)
    for _ in range(21):
        add_row(database, key_id, 3)
    add_row(database, key_id, 3, model=MARKUP, code=MARKUP, request_id=MARKUP, asked=3 * MILLION, delivered=2 * MILLION)
    add_row(database, key_id, 60)
    open_usage(page, secret)

    expect(term(page, "Balance")).to_have_text(re.compile(r"^0\.98(00)? USD$"))
    expect(term(page, "Calls per minute")).to_contain_text("4 of 5 left")
    expect(term(page, "Images per minute")).to_contain_text("8 of 10 left")
    expect(term(page, "Calls at the same time")).to_have_text("No limit")
    expect(page.get_by_role("definition").filter(has_text="2,000,023")).to_be_visible()

    chart = page.get_by_role("slider", name="Images by day")
    expect(chart).to_have_attribute("aria-valuenow", "30")
    chart.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    numbers = f"2,000,021 ({MODEL} 21, {MARKUP} 2,000,000)"
    expect(chart).to_have_attribute("aria-valuetext", re.compile(rf"^\d{{4}}-\d\d-\d\d: {re.escape(numbers)}$"))
    page.get_by_role("radio", name="Cost").check()
    expect(page.get_by_role("slider", name="Cost by day")).to_be_visible()

    rows = page.get_by_role("region", name="Requests").locator("tbody tr")
    expect(rows).to_have_count(20)
    page.get_by_role("button", name="Older").click()
    expect(rows).to_have_count(24)
    expect(page.get_by_role("button", name="Older")).to_be_hidden()
    strange = rows.filter(has_text="2,000,000 of 3,000,000")
    assert strange.get_by_text(MARKUP, exact=True).count() == 3
    assert page.locator("main img").count() == 0

    page.get_by_role("radio", name="90 days").check()
    expect(page.get_by_role("definition").filter(has_text="2,000,024")).to_be_visible()


def test_older_requests_of_a_key_are_not_added_to_those_of_another(page: Page, site: Site, database: Database) -> None:
    first, second = site.new_key(), site.new_key()
    for secret, count in ((first, 41), (second, 21)):
        for _ in range(count):
            add_row(database, site.keys.get(secret).id, 3, code=secret[-9:])
    rows = page.get_by_role("region", name="Requests").locator("tbody tr")
    older = page.get_by_role("button", name="Older")
    held: list[Route] = []
    page.route(OLDER_PAGES, lambda route: route.continue_() if held else held.append(route))
    open_usage(page, first)
    with page.expect_request(OLDER_PAGES):
        older.click()
    page.get_by_role("textbox", name="API key").fill(second)
    page.get_by_role("button", name="Use key").click()
    expect(rows.filter(has_text=second[-9:])).to_have_count(20)
    held[0].continue_()
    older.click()
    expect(older).to_be_hidden()
    assert rows.count() == rows.filter(has_text=second[-9:]).count() == 21


def test_dates_of_one_s_own(page: Page, site: Site, database: Database) -> None:
    secret = site.new_key(balance=None)
    add_row(database, site.keys.get(secret).id, 60)
    open_usage(page, secret)
    expect(term(page, "Balance")).to_have_text("Not limited")
    expect(page.get_by_text("This API key made no calls in this period.")).to_be_visible()
    page.get_by_role("radio", name="Own dates").check()
    first = page.get_by_label("First day")
    for days, problem in ((366, "Choose at most 366 days."), (-1, "The first day comes after the last one.")):
        first.fill((datetime.now(UTC).date() - timedelta(days=days)).isoformat())
        page.get_by_role("button", name="Refresh").click()
        expect(page.get_by_role("alert").filter(has_text=problem)).to_be_visible()
    first.fill((datetime.now(UTC).date() - timedelta(days=365)).isoformat())
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_role("slider", name="Images by week")).to_have_attribute("aria-valuemax", "53")


def test_wrong_key_is_an_error(page: Page) -> None:
    open_usage(page, "amux_sk_unknown")
    expect(page.get_by_role("alert").filter(has_text="invalid_api_key")).to_be_visible()
    expect(page.get_by_role("heading", name="Totals")).to_be_hidden()


def test_gateway_without_a_database_keeps_no_usage(open_page: OpenPage, upstream_sandbox: str, tmp_path: Path) -> None:
    with processes.gateway(tmp_path, upstream_sandbox, WEB_CONCURRENCY="1") as gateway:
        page = open_page(gateway.url)
        open_usage(page, processes.API_KEY)
        expect(page.get_by_role("status").filter(has_text="This gateway keeps no usage")).to_be_visible()


def test_at_most_eight_models_have_a_color(page: Page, site: Site) -> None:
    page.goto("/usage")
    rows = [
        {"day": "2026-01-31", "model": f"m{i}", "requests": 20 - i, "asked": 1, "delivered": 1, "charged": 1}
        for i in range(12)
    ]
    source = page.locator("script[src*=usage]").get_attribute("src") or ""
    data = page.evaluate(
        """async ([url, rows]) => {
            const { seriesOf } = await import(url);
            return seriesOf(rows, { start: "2026-01-30", end: "2026-02-01" }, "requests");
        }""",
        [source.replace("main.js", "totals.js"), rows],
    )
    assert data["starts"] == ["2026-01-30", "2026-01-31", "2026-02-01"]
    assert [each["name"] for each in data["series"]] == [*(f"m{i}" for i in range(7)), "Other models"]
    assert data["series"][-1]["values"] == [0, sum(range(9, 14)), 0]
