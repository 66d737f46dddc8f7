"""A headless Chromium of the tests' own, spoken to over a pipe in its DevTools protocol: no port, no driver program.

Keys and clicks are real input events, so what a test does is what a cashier does.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.supervisor import end

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WITHIN_SECONDS = 20.0
# The browser reads its file 3 and writes its file 4; Python keeps neither number free.
_START = "import os,sys;os.dup2(int(sys.argv[1]),3);os.dup2(int(sys.argv[2]),4);os.execv(sys.argv[3],sys.argv[3:])"
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--mute-audio",
    "--window-size=1280,1000", "--lang=zh-CN", "--remote-debugging-pipe",
)  # fmt: skip
_KEYS = {"Enter": ("\r", 13), "ArrowDown": ("", 40), "ArrowUp": ("", 38), "Tab": ("", 9), "Escape": ("", 27)}


def is_installed() -> bool:
    """Whether this machine has a Chromium to start."""
    return PROGRAM is not None


class Page:
    """One page of the browser. `errors` holds what the page's scripts complained of."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._count, self._session = 0, ""
        self._read = b""
        self.errors: list[str] = []
        target = self._ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self._ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable", {})

    def open(self, url: str) -> None:
        """Go to an address and wait for the page."""
        self._ask("Page.navigate", {"url": url})
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, script: str) -> Any:
        """What an expression comes to in the page."""
        done = self._ask("Runtime.evaluate", {"expression": script, "returnByValue": True, "awaitPromise": True})
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, script: str, *, within: float = WITHIN_SECONDS) -> Any:
        """Wait until an expression is true; its value."""
        deadline = time.monotonic() + within
        while not (value := self.value(f"(() => {{ try {{ return {script} }} catch (e) {{ return false }} }})()")):
            assert time.monotonic() < deadline, f"{script} did not come true; the page says {self.says()!r}"
            time.sleep(0.02)
        return value

    def says(self) -> str:
        """The text a person sees."""
        return str(self.value("document.body.innerText"))

    def text(self, selector: str) -> str:
        """The text of an element."""
        return str(self.value(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """Click the middle of an element, as soon as it can be seen."""
        found = json.dumps(selector)
        self.until(
            f"document.querySelector({found}).getClientRects().length && !document.querySelector({found}).disabled"
        )
        where = self.value(
            f"(() => {{ const e = document.querySelector({found}); e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            event = {"type": kind, "x": where[0], "y": where[1], "button": "left", "clickCount": 1}
            self._ask("Input.dispatchMouseEvent", event)

    def fill(self, selector: str, text: str) -> None:
        """Type a text into a field in place of what is there; days and choices are set as the browser's pickers do."""
        found = json.dumps(selector)
        self.until(f"document.querySelector({found}).getClientRects().length > 0")
        typed = self.value(
            f"(() => {{ const e = document.querySelector({found}); e.focus(); if (e.select) e.select();"
            " return e.tagName === 'INPUT' && e.type !== 'date'; })()"
        )
        if typed:
            if self.value(f"document.querySelector({found}).value !== ''"):
                self.value("document.execCommand('delete')")
            self._ask("Input.insertText", {"text": text})
        else:
            self.value(
                f"(() => {{ const e = document.querySelector({found}); e.value = {json.dumps(text)};"
                " for (const n of ['input', 'change']) e.dispatchEvent(new Event(n, {bubbles: true})); })()"
            )

    def press(self, key: str) -> None:
        """Press and release a key."""
        text, code = _KEYS[key]
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self._ask("Input.dispatchKeyEvent", {"type": "keyDown", **event, **({"text": text} if text else {})})
        self._ask("Input.dispatchKeyEvent", {"type": "keyUp", **event})

    def picture(self, file: Path) -> None:
        """What the page looks like, as a PNG."""
        import base64

        file.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot", {"format": "png"})["data"]))

    def _ask(self, method: str, params: dict[str, Any]) -> Any:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._from], [], [], WITHIN_SECONDS)
            assert ready, "the browser does not answer"
            part = os.read(self._from, 1 << 16)
            assert part, "the browser has ended"
            self._read += part
        line, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(told["exceptionDetails"].get("exception", told["exceptionDetails"])))
        elif event.get("method") == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")


@contextmanager
def running_chromium(folder: Path) -> Iterator[Page]:
    """A page of a browser that ends with the block. Its profile is in the folder."""
    assert PROGRAM is not None
    browser_reads, to_browser = os.pipe()
    from_browser, browser_writes = os.pipe()
    command = [sys.executable, "-c", _START, str(browser_reads), str(browser_writes)]
    with (folder / "chromium.log").open("wb") as log:
        browser = subprocess.Popen(
            [*command, PROGRAM, *_FLAGS, f"--user-data-dir={folder / 'profile'}"],
            pass_fds=(browser_reads, browser_writes),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(folder)},
            start_new_session=True,
        )
    os.close(browser_reads)
    os.close(browser_writes)
    try:
        yield Page(to_browser, from_browser)
    finally:
        os.close(to_browser)
        os.close(from_browser)
        end(browser.pid, signal.SIGTERM, within=10)
        browser.wait()
