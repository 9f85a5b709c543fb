"""The player works in a real browser: it plays, jumps, sorts, opens a moment, and shows hostile names as text."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import open_browser

from evaluation.localization import Detections
from reporting.player import PlayedClip, pack, player_data, write_player
from tests.reporting.test_player import moving
from tests.reporting.test_templates import HOSTILE
from utils.errors import printable

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (requirements-dev.txt)")

from selenium.webdriver import ActionChains, Keys  # noqa: E402 - after the check that it is there

NAMES = ["first", HOSTILE, "שלום \u202e'\"", "last"]
CLASSES = ("walk", HOSTILE, "שלום")
FRAMES = (90, 300, 60, 120)


def clips(names: list[str], frames: tuple[int, ...]) -> list[dict[str, Any]]:
    """Clips with two true segments, a correct detection of the first, a wrong detection and a weak one."""
    rng = np.random.default_rng(0)
    made = []
    for number, (name, length) in enumerate(zip(names, frames, strict=True)):
        labels = np.zeros((length, 3), bool)
        labels[20:50, 0] = labels[52:58, 0] = True
        found = Detections.of(number, [0, 1, 2], [[24, 50], [5, 15], [0, 9]], [0.9 - number / 100, 0.8, 0.1])
        probs = rng.dirichlet(np.ones(4), length)
        clip = PlayedClip(
            name, moving(length, 0.02), labels, (found,), probs, (10.0 * number,), first=30 * (number == 3)
        )
        made.append(pack(clip, CLASSES))
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests."""
    with open_browser(1200, 1300) as driver:
        yield driver


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "player.html"
    data = player_data(clips(NAMES, FRAMES), CLASSES, ["found"], thresholds=[0.03, 0.05])
    write_player(path, HOSTILE, HOSTILE, data)
    return path


class Page:
    """A page with a player, as a reader sees and uses it."""

    def __init__(self, browser: Any, path: Path, fragment: str = "") -> None:
        self.browser = browser
        browser.get("about:blank")
        browser.get(path.as_uri() + fragment)
        self.wait(lambda: self.part("name").text)

    def part(self, name: str) -> Any:
        return self.browser.find_element("id", f"player-{name}")

    @property
    def frame(self) -> int:
        return int(self.part("time-line").get_attribute("aria-valuenow"))

    @property
    def listed(self) -> list[str]:
        return [item.text for item in self.browser.find_elements("css selector", "#player-clips bdi")]

    def wait(self, condition: Callable[[], Any], seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)

    def press(self, *keys: str, on: str = "time-line") -> None:
        self.part(on).send_keys(*keys)

    def choose(self, menu: str, value: str) -> None:
        self.part(menu).find_element("css selector", f"option[value='{value}']").click()

    def picture(self) -> str:
        return self.browser.execute_script("return document.getElementById('player-body').toDataURL()")

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser")]


@pytest.fixture()
def page(browser: Any, path: Path) -> Iterator[Page]:
    page = Page(browser, path)
    yield page
    assert page.errors() == []


def test_nothing_plays_unasked_and_play_moves_body_and_cursor_until_pause(page: Page) -> None:
    before = page.picture()
    time.sleep(0.1)
    assert (page.frame, page.picture()) == (0, before)
    page.press(Keys.SPACE)
    page.wait(lambda: page.frame > 5)
    page.part("play").click()
    stopped = page.frame
    assert page.part("play").text == "Play"
    time.sleep(0.1)
    assert page.frame == stopped
    assert page.picture() != before


def test_the_browser_decodes_the_joints_and_draws_an_upright_body(page: Page) -> None:
    found = page.browser.execute_script("return Array.from(bodyView.joints, (place) => place * bodyView.quantum)")
    np.testing.assert_allclose(np.array(found).reshape(-1, 25, 3), moving(90, 0.02), atol=0.00051)
    script = """const canvas = part("body"), rows = {};
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      for (const name of ["left", "right", "trunk"]) {
        const hex = getComputedStyle(part("player")).getPropertyValue("--" + name).match(/[0-9a-f]{2}/g);
        const colour = hex.map((digits) => parseInt(digits, 16));
        rows[name] = [];
        for (let i = 0; i < pixels.length; i += 4)
          if (colour.every((value, n) => value === pixels[i + n])) rows[name].push(Math.floor(i / 4 / canvas.width));
      }
      return [Math.min(...rows.trunk), Math.max(...rows.left), Math.max(...rows.right), canvas.height]"""
    head, left_foot, right_foot, height = page.browser.execute_script(script)
    assert 0 < head < 0.4 * height
    assert 0.6 * height < min(left_foot, right_foot) <= max(left_foot, right_foot) < height


def test_a_click_on_a_detection_or_a_drag_on_the_time_line_moves_the_body(page: Page) -> None:
    line = page.part("time-line")
    boxes = page.browser.execute_script(
        "return timeLine.boxes.map((b) => [b.segment.lane, b.segment.start, b.x1, b.y0])"
    )
    width, height = line.size["width"], line.size["height"]
    [(_, start, x, y)] = [box for box in boxes if box[:2] == [1, 24]]
    mouse = ActionChains(page.browser, duration=20)
    mouse.move_to_element_with_offset(line, x - 5 - width / 2, y + 5 - height / 2).click().perform()
    assert (start, page.frame) == (24, 24)
    assert "correct" in page.part("now").text
    assert "0.90" in line.get_attribute("title")
    mouse.click_and_hold().move_by_offset(80, 0).release().perform()
    assert page.frame > 50


def test_keys_do_everything(page: Page) -> None:
    for keys, frame in [
        (Keys.ARROW_RIGHT * 3, 3), (Keys.ARROW_LEFT, 2), (Keys.END, 89), (Keys.HOME, 0), ("n", 5), ("n", 24), ("N", 5),
        (Keys.SHIFT + Keys.ARROW_RIGHT + Keys.NULL, 35), ("E", 5), ("e", 52),
    ]:  # fmt: skip
        page.press(keys)
        page.wait(lambda frame=frame: page.frame == frame)
    page.press("e")  # the next error after the missed segment is in the next clip
    page.wait(lambda: page.part("name").text == printable(NAMES[1]))
    assert page.frame == 5
    page.press(Keys.PAGE_DOWN)
    page.wait(lambda: page.part("name").text == printable(NAMES[2]))
    page.press(Keys.ARROW_DOWN, on="speed")
    assert page.part("speed").get_attribute("value") == "2"
    length = page.browser.execute_script("return timeLine.end - timeLine.start")
    page.press("i")
    assert page.browser.execute_script("return timeLine.end - timeLine.start") == length / 2
    before = page.picture()
    page.press(Keys.ARROW_RIGHT, on="body")
    assert page.picture() != before
    assert page.frame == 0


def test_the_body_turns_by_dragging_and_grows_by_the_wheel(page: Page) -> None:
    body, pictures = page.part("body"), [page.picture()]
    mouse = ActionChains(page.browser, duration=20)
    mouse.move_to_element(body).click_and_hold().move_by_offset(60, 20).release().perform()
    pictures.append(page.picture())
    ActionChains(page.browser, duration=20).scroll_from_origin(
        webdriver.common.actions.wheel_input.ScrollOrigin.from_element(body), 0, -200
    ).perform()
    page.wait(lambda: page.picture() != pictures[-1])
    assert page.browser.execute_script("return bodyView.zoom") > 1
    assert len({*pictures, page.picture()}) == 3


def test_clips_are_sorted_and_filtered(page: Page) -> None:
    names = [printable(name) for name in NAMES]
    assert page.listed == names
    for value, order in [("worst", [0, 1, 2, 3]), ("best", [3, 2, 1, 0]), ("longest", [1, 3, 0, 2])]:
        page.choose("sort", value)
        assert page.listed == [names[number] for number in order]
    page.choose("class", "2")  # its detections have a low score and are hidden at first
    assert page.listed == []
    page.press(Keys.HOME, on="minimum")
    assert len(page.listed) == 4
    assert page.part("count").text == "4 of 4 clips"
    page.choose("sort", "background")
    assert page.browser.execute_script("return listed.map((some) => errorsOf(some, 'background'))") == [2, 2, 2, 2]


def test_the_address_leads_to_a_moment(page: Page, path: Path) -> None:
    page.press("n")
    page.wait(lambda: "t=0.17" in page.browser.current_url)
    page.part("clips").find_elements("tag name", "button")[3].click()
    page.wait(lambda: page.part("name").text == "last")
    page.press("n")
    page.wait(lambda: "t=1.17" in page.browser.current_url)  # the clip begins at frame 30 of its recording
    address = page.browser.current_url.partition("#")[2]
    assert address == "clip=last&t=1.17"
    again = Page(page.browser, path, f"#{address}")
    assert (again.part("name").text, again.frame) == ("last", 5)
    page.browser.execute_script("location.hash = 'clip=first&t=1.5'")
    page.wait(lambda: page.part("name").text == "first")
    page.wait(lambda: page.frame == 45)


@pytest.mark.parametrize(
    ("seconds", "digits", "text"),
    [
        (12.3, 2, "12.30"), (59.996, 2, "1:00.00"), (3599 / 30, 1, "2:00.0"), (3599.97, 1, "1:00:00.0"),
        (62.3, 2, "1:02.30"), (3723.4, 2, "1:02:03.40"), (90, 0, "1:30"),
    ],
)  # fmt: skip
def test_a_time_is_rounded_before_its_minutes_are_cut(page: Page, seconds: float, digits: int, text: str) -> None:
    assert page.browser.execute_script(f"return clock({seconds}, {digits})") == text


def test_hostile_names_stay_text(page: Page) -> None:
    page.press(Keys.PAGE_DOWN)
    page.wait(lambda: page.part("name").text == printable(HOSTILE))
    page.press("n")
    page.wait(lambda: printable(HOSTILE) in page.part("now").text)
    assert page.browser.title != "run"
    assert page.browser.find_elements("css selector", "img, #player-player script") == []


@pytest.mark.parametrize("width", [1200, 400], ids=["desktop", "phone"])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert page.browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert page.browser.execute_script("return part('time-line').clientWidth") > 0.5 * min(width, 700)
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.slow
def test_sixty_clips_play_at_thirty_frames_a_second(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "many.html"
    data = player_data(clips([f"clip{n}" for n in range(60)], 60 * (486,)), CLASSES, ["found"], thresholds=[0.03, 0.05])
    write_player(path, "many", "", data)
    page = Page(browser, path)
    script = """const done = arguments[0]; let pictures = 0; const began = performance.now();
      const draw = timeLine.draw; timeLine.draw = function (...values) { pictures++; draw.apply(this, values); };
      play(); setTimeout(() => { pause(); done(1000 * pictures / (performance.now() - began)); }, 3000);"""
    assert page.browser.execute_async_script(script) >= 30


def test_without_a_clip_the_buttons_do_nothing(browser: Any, tmp_path: Path) -> None:
    write_player(tmp_path / "empty.html", "none", "", player_data([], CLASSES))
    browser.get((tmp_path / "empty.html").as_uri())
    for button in browser.find_elements("css selector", "[data-key]"):
        browser.execute_script("arguments[0].click()", button)
    assert not browser.get_log("browser")
