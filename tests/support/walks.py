"""Prefect's page and the review page as a person walks through them, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = "/usr/bin/chromium"
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
PATIENCE = 120_000


@contextmanager
def browser(prefect: str, review: str, photos: Path | None = None) -> Iterator[Walk]:
    """At these addresses; with `photos`, a picture of each step stays there."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        yield Walk(page, prefect.rstrip("/"), review.rstrip("/"), photos)
        chromium.close()


class Walk:
    def __init__(self, page: Any, prefect: str, review: str, photos: Path | None) -> None:
        self.page, self.prefect, self.review, self.photos = page, prefect, review, photos
        self.taken = 0

    def photo(self, name: str) -> None:
        if self.photos:
            self.taken += 1
            self.photos.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=self.photos / f"{self.taken:02}-{name}.png", full_page=True)

    def form(self, flow: str, name: str) -> None:
        """Open the form of a deployment: Deployments, its name, Run, Custom run."""
        self.page.goto(f"{self.prefect}/deployments")
        row = self.page.locator("tr", has=self.page.get_by_text(flow, exact=True))
        row.get_by_role("link", name=name, exact=True).click()
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_text("Custom run").click()
        self.page.get_by_role("button", name="Submit").wait_for()

    def field(self, name: str) -> Any:
        """What belongs to a parameter: its label, its help and its control."""
        label = self.page.get_by_text(re.compile(rf"^{name}( \(Optional\))?$"))
        return self.page.locator(".schema-form-property", has=label)

    def submit(self) -> None:
        """Start it, and go to the page of the run."""
        self.page.get_by_role("button", name="Submit").click()
        self.page.get_by_role("button", name="View run").last.click()
        self.page.wait_for_url("**/runs/flow-run/**")
        self.page.reload()  # what the page before said of other runs is gone then

    def switch(self, name: str) -> Any:
        """The control of a parameter that is on or off."""
        return self.field(name).get_by_role("switch")

    def end(self) -> str:
        """The state in which the run ends whose page this is."""
        ended = self.page.get_by_text(re.compile("^ *(Completed|Failed|Crashed|Cancelled) *$")).first
        ended.wait_for()
        return str(ended.inner_text()).strip()

    def artifacts(self) -> dict[str, str]:
        """The addresses of what the run shows, by key."""
        self.page.get_by_text("Artifacts", exact=True).click()
        cards = self.page.locator('a[href^="/artifacts/artifact/"]')
        cards.first.wait_for()
        return {each.inner_text().split()[1]: each.get_attribute("href") for each in cards.all()}

    def pictures(self, address: str) -> list[int]:
        """How wide the pictures of an artifact are, as the browser shows them."""
        self.page.goto(f"{self.prefect}{address}")
        self.page.locator("img").first.wait_for()
        self.page.wait_for_function("[...document.images].every(each => each.complete)")
        found: list[int] = self.page.eval_on_selector_all("img", "all => all.map(each => each.naturalWidth)")
        return found

    def follow_to_review(self, address: str) -> None:
        """From what a day's run shows."""
        self.page.goto(f"{self.prefect}{address}")
        link = self.page.get_by_role("link", name="review page")
        assert link.get_attribute("href").rstrip("/") == self.review
        self.page.goto(f"{self.review}/")

    def approve(self) -> None:
        """On the review page, the first that waits."""
        self.page.get_by_role("button", name="Approve").first.click()
        self.page.get_by_text("Approved. U takes it back.").wait_for()
