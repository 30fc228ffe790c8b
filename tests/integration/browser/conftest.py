"""Headless Chromium, driven through chromedriver's HTTP interface (W3C WebDriver)."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time

import pytest
import requests

from ddtrace_manual._receiver import TraceViewer

KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "ArrowDown": "\ue015", "ArrowLeft": "\ue012", "ArrowRight": "\ue014"}


class Browser:
    """One browser window. `js` runs the body of a function; `until` repeats one until it returns something true."""

    def __init__(self, driver_url, options):
        self._http = requests.Session()
        self._http.trust_env = False
        answer = self._http.post(
            f"{driver_url}/session",
            json={
                "capabilities": {
                    "alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
                }
            },
            timeout=60,
        ).json()["value"]
        assert "sessionId" in answer, answer
        self._url = f"{driver_url}/session/{answer['sessionId']}"

    def _ask(self, method, path, body=None):
        value = self._http.request(method, f"{self._url}{path}", json=body, timeout=60).json()["value"]
        assert not (isinstance(value, dict) and "error" in value), value
        return value

    def open(self, url):
        self._ask("POST", "/url", {"url": url})

    def js(self, body, *arguments):
        return self._ask("POST", "/execute/sync", {"script": body, "args": list(arguments)})

    def until(self, body, *arguments):
        deadline = time.monotonic() + 30
        while not (found := self.js(body, *arguments)):
            assert time.monotonic() < deadline, f"never true: {body}\n{self.text()}"
            time.sleep(0.05)
        return found

    def text(self, selector="body"):
        return self.js("const e = document.querySelector(arguments[0]); return e ? e.innerText : ''", selector)

    def press(self, *keys):
        for key in keys:
            value = KEYS.get(key, key)
            actions = [{"type": kind, "value": value} for kind in ("keyDown", "keyUp")]
            self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def devtools(self, command, **parameters):
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width, height, *, mobile=False):
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    def colours(self, scheme):
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def console(self):
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def close(self):
        self._http.delete(self._url, timeout=60)
        self._http.close()


@pytest.fixture(scope="session")
def browser_session(tmp_path_factory):
    """One browser for each test worker."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no Chromium with chromedriver on this machine (Debian: apt-get install chromium chromium-driver)")
    profile = tmp_path_factory.mktemp("chromium")
    environ = {**os.environ, "HOME": str(profile)}
    with subprocess.Popen(
        [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ
    ) as process:
        try:
            port = _port_of(process)
            flags = ["headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run"]
            arguments = [*flags, f"user-data-dir={profile}", "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
            browser = Browser(f"http://127.0.0.1:{port}", {"binary": chromium, "args": arguments})
            yield browser
            browser.close()
        finally:
            process.terminate()


def _port_of(process):
    for line in process.stdout:
        words = line.decode(errors="replace").split()
        if b"started successfully on port" in line:
            return int(words[-1].rstrip("."))
    pytest.fail("chromedriver did not start")


@pytest.fixture
def browser(browser_session):
    """A browser of desktop size; what it wrote into its console before is gone."""
    browser_session.size(1280, 800)
    browser_session.colours("light")
    browser_session.open("about:blank")
    browser_session.console()
    return browser_session


@pytest.fixture
def viewer():
    """A receiver that serves the page."""
    with TraceViewer() as running:
        yield running
