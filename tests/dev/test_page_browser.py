"""The page in a real Chromium, driven through chromedriver by plain HTTP (W3C WebDriver)."""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

CHROMEDRIVER = shutil.which("chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver, 12.1: the member that holds an element's reference
ENTER, CONTROL = "\ue007", "\ue009"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
PATIENCE = 20_000  # milliseconds in which an element must appear; a page that works needs some dozens


@dataclass
class Browser:
    """A browser window."""

    http: ClientSession
    url: str

    async def command(self, method: str, path: str, **body: Any) -> Any:
        """The value of a WebDriver command's answer."""
        given = body if method == "POST" else None
        async with self.http.request(method, self.url + path, json=given) as got:
            value = (await got.json())["value"]
            assert got.status == 200, value
            return value

    async def find(self, selector: str) -> str:
        """The path of the first element that the selector matches, as soon as there is one."""
        found = await self.command("POST", "/element", using="css selector", value=selector)
        return f"/element/{found[ELEMENT]}"

    async def text(self, selector: str) -> str:
        """What a person reads in the element."""
        return await self.command("GET", f"{await self.find(selector)}/text")

    async def click(self, selector: str) -> None:
        """Click into the middle of the element."""
        await self.command("POST", f"{await self.find(selector)}/click")

    async def type(self, selector: str, text: str) -> None:
        """Replace the element's text by typing."""
        element = await self.find(selector)
        await self.command("POST", f"{element}/clear")
        await self.command("POST", f"{element}/value", text=text)

    async def script(self, text: str) -> Any:
        """What a script returns."""
        return await self.command("POST", "/execute/sync", script=text, args=[])

    async def answered(self) -> str:
        """The summary of the answer, when it is there."""
        await self.find("#answer[aria-busy=false] .verdict")
        return await self.text("#summary")

    async def complaints(self) -> list[str]:
        """What the browser itself has to say: script errors and breaches of the page's policy."""
        return [entry["message"] for entry in await self.command("POST", "/se/log", type="browser")]


def capabilities(folder: Path) -> dict[str, Any]:
    """A headless Chromium with a profile of its own."""
    options = {"args": [*FLAGS, f"--user-data-dir={folder}"]}
    wanted = {
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL"},
        "timeouts": {"implicit": PATIENCE},
    }
    return {"alwaysMatch": wanted}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a WebDriver session in a Chromium of its own."""
    if CHROMEDRIVER is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromedriver is missing; the page cannot be tested")
        pytest.skip("chromedriver is missing: apt-get install chromium-driver")
    with subprocess.Popen([CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            started = next(line for line in driver.stdout if "started successfully on port" in line)
            port = int(started.rpartition(" ")[2].strip(" .\n"))
            made = post(port, "/session", {"capabilities": capabilities(tmp_path_factory.mktemp("profile"))})
            path = f"/session/{made['sessionId']}"
            yield f"http://127.0.0.1:{port}{path}"
            post(port, path, None)
        finally:
            driver.terminate()


def post(port: int, path: str, body: object) -> Any:
    """The value of a WebDriver command's answer, outside the event loop; no body ends the session."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST" if body else "DELETE", path, json.dumps(body) if body else None)
    with closing(connection), connection.getresponse() as got:
        value = json.load(got)["value"]
        assert got.status == 200, value
        return value


@pytest.fixture
async def browser(chromium: str, page: str) -> AsyncIterator[Browser]:
    """A browser that shows the page as a newcomer finds it."""
    async with ClientSession() as http:
        window = Browser(http, chromium)
        await window.command("POST", "/url", url=page)
        await window.find("#examples button")
        yield window
        await window.command("POST", "/url", url="about:blank")


async def test_an_allowed_query_shows_its_data(browser: Browser, stand_in: Any) -> None:
    """The newcomer's first click would show nothing, or not the answer."""
    await browser.click("#credential option[value='0']")
    await browser.click("#run")
    summary = await browser.answered()
    assert "Allowed and forwarded" in summary
    assert "200 OK" in summary
    assert '"id": "5a93"' in await browser.text("#body")
    assert "x-gateway-user\n5a93" in await browser.text("#told")
    assert not await browser.text("#reasons")
    assert stand_in.seen[0][0]["Authorization"].startswith("Bearer gwu_")
    assert await browser.complaints() == []


async def test_a_refused_query_explains_itself(browser: Browser, stand_in: Any) -> None:
    """A developer would see a bare 403 and not know what to change."""
    await browser.click("#credential option[value='1']")
    await browser.type("#query", "{ offloads { day } }")
    await browser.click("#run")
    summary = await browser.answered()
    assert "Refused by the gateway" in summary
    assert "403" in summary
    explained = await browser.text("#reasons")
    for words in ("scope_missing", "Make a key that holds it.", "Query.offloads", "OFFLOADS_READ"):
        assert words in explained
    assert stand_in.seen[0][0]["Authorization"].startswith("Bearer gwk_")
    assert await browser.complaints() == []


async def test_examples_choose_a_caller_and_run(browser: Browser) -> None:
    """The refused example would be sent by somebody who is allowed."""
    labels = await browser.script("return [...document.querySelectorAll('#examples button')].map(b => b.textContent)")
    await browser.click(f"#examples button:nth-child({labels.index('Refused: scope missing') + 1})")
    assert "Refused by the gateway" in await browser.answered()
    assert await browser.text("#credential option:checked") == "USER_READ key of demo"
    await browser.click(f"#examples button:nth-child({labels.index('Refused: nobody') + 1})")
    assert "401" in await browser.answered()
    assert "Choose a credential." in await browser.text("#reasons")


async def test_the_keyboard_alone_will_do(browser: Browser) -> None:
    """A developer who does not use a mouse could not run a query."""
    query = await browser.find("#query")
    await browser.command("POST", f"{query}/value", text=CONTROL + ENTER)
    assert "200 OK" in await browser.answered()


async def test_what_an_answer_contains_is_text(browser: Browser, stand_in: Any) -> None:
    """An upstream could run script in the developer's browser, next to the tokens."""
    attack = "<img src=x onerror=document.title=1><script>document.title=2</script>"
    stand_in.body = f'{{"data":{{"a":"{attack}"}}}}'.encode()
    await browser.click("#run")
    assert "200 OK" in await browser.answered()
    assert attack in await browser.text("#body")
    assert await browser.script("return document.querySelectorAll('#answer :is(img, script)').length") == 0
    assert await browser.complaints() == []


async def test_a_fault_in_the_form_is_said_beside_it(browser: Browser, stand_in: Any) -> None:
    """Run would silently do nothing when the variables are not JSON."""
    await browser.type("#variables", "{user_id: 1}")
    await browser.click("#run")
    await browser.find("#variables[aria-invalid=true]")
    assert "variables" in await browser.text("#fault")
    await browser.type("#variables", "")
    await browser.type("#headers", "Authorization: Bearer mine")
    await browser.click("#run")
    assert "X-Mock-" in await browser.text("#fault:not([hidden])")
    assert stand_in.seen == []


async def test_copy_as_curl_shows_a_command(browser: Browser, stand_in: Any) -> None:
    """A developer could not take the request to a terminal."""
    await browser.click("#curl")
    await browser.find("#command:not([hidden])")
    command = await browser.text("#command-text")
    assert command.startswith(f"curl -sS {stand_in.url}/v4/gql")
    assert "Authorization: Bearer gwu_" in command
    assert stand_in.seen == []


@pytest.mark.parametrize("width", [400, 1280])
async def test_the_page_fits_its_window(browser: Browser, width: int) -> None:
    """On a narrow window half of the page would be out of sight."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    await browser.command("POST", "/goog/cdp/execute", cmd="Emulation.setDeviceMetricsOverride", params=metrics)
    await browser.click("#run")
    await browser.answered()
    assert await browser.script("return document.documentElement.scrollWidth <= innerWidth")
    unnamed = "return [...document.querySelectorAll('textarea, select')].filter(one => !one.labels.length).length"
    assert await browser.script(unnamed) == 0
