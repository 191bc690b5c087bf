"""Watches a browser context: what a page may never do fails the test."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Request, WebError

# Violations are console errors already, but only where a console is open to see them.
REPORT_VIOLATIONS = """
document.addEventListener('securitypolicyviolation', (event) => {
  console.error(`Content-Security-Policy: ${event.effectiveDirective} blocks ${event.blockedURI}`);
});
"""
LOCAL_SCHEMES = ("data:", "blob:")


class Watch:
    """`problems`: requests to other origins than `url`, errors on the console, uncaught errors of scripts, alerts."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.problems: list[str] = []
        self._url = url + "/"
        context.add_init_script(REPORT_VIOLATIONS)
        context.on("request", self._see_request)
        context.on("console", self._see_message)
        context.on("weberror", self._see_error)
        context.on("dialog", self._see_dialog)

    def _see_request(self, request: Request) -> None:
        if not request.url.startswith((self._url, *LOCAL_SCHEMES)):
            self.problems.append(f"A request left for {request.url}")

    def _see_message(self, message: ConsoleMessage) -> None:
        # Chromium reports each failed call of the API. Pages show these to the user.
        is_api_error = message.text.startswith("Failed to load") and message.location["url"].startswith(
            f"{self._url}v1/"
        )
        if message.type == "error" and not is_api_error:
            self.problems.append(f"On the console: {message.text} ({message.location['url']})")

    def _see_error(self, error: WebError) -> None:
        self.problems.append(f"Uncaught: {error.error.message}")

    def _see_dialog(self, dialog: Dialog) -> None:
        if dialog.type == "alert":
            self.problems.append(f"An alert: {dialog.message}")
        dialog.accept()
