"""The form made of a schema: its fields, its faults, and the request as code."""

import asyncio
import re

import pytest
from playwright.async_api import Route, expect

from service.web.page.forms import Form
from service.web.page.schema import shape_of
from service.web.page.schema_form import fields_of, pairs_of, pruned, value_of
from service.wire import schemas
from tests.conftest import Service
from tests.page.conftest import OpenTab, Tab, signed_in

LORA = "/try?provider=piapi&model=Qubico/flux1-dev-advanced&task_type=txt2img-lora"
INPUTS = sorted(
    {
        name
        for entry in schemas.load("catalog").values()
        for about in entry["models"].values()
        for name in about["task_types"].values()
    }
)
browsing = pytest.mark.asyncio(loop_scope="session")


@browsing
async def test_choosing_shows_a_field_for_each_property(tab: Tab) -> None:
    page = await tab.open("/try")
    await page.get_by_label("Provider", exact=True).select_option("modelslab")
    await page.get_by_label("Model", exact=True).select_option("flux")
    await page.get_by_label("Task type", exact=True).select_option("img2img")
    await expect(page.get_by_label("init_image", exact=True)).to_be_visible()
    for name in ("prompt", "negative_prompt", "width", "height", "samples", "seed", "strength"):
        await expect(page.get_by_label(name, exact=True)).to_be_visible()
    width = page.get_by_label("width", exact=True)
    await expect(width).to_have_attribute("min", "256")
    await expect(width).to_have_attribute("max", "1024")
    await expect(width).to_have_accessible_description(re.compile("256 to 1024"))
    await expect(page.get_by_label("key", exact=True)).to_be_disabled()


@browsing
async def test_a_task_is_sent_and_leads_to_its_page(tab: Tab, service: Service) -> None:
    page = await tab.open("/try?provider=piapi&model=Qubico/flux1-schnell&task_type=txt2img")
    await page.get_by_label("prompt", exact=True).fill("a cat [sandbox: delay=0.05]")
    await page.get_by_label("width", exact=True).fill("512")
    await page.get_by_role("button", name="Submit", exact=True).dblclick()
    await page.wait_for_url(re.compile("/tasks/tsk_"))
    await expect(page.get_by_role("status")).to_have_text("completed")
    tasks = (await service.client.get("/v1/tasks")).json()["data"]
    assert len(tasks) == 1, "pressed twice, sent once"
    assert tasks[0]["input"]["width"] == 512


@browsing
async def test_every_press_of_the_button_leads_to_the_one_task(service: Service) -> None:
    """Also those that come while the first is being stored."""
    form = {"provider": "piapi", "model": "gemini", "task_type": "any", "json": "{}", "once": "0123456789abcdef"}
    async with signed_in(service) as client:
        presses = await asyncio.gather(*(client.post("/try", data=form) for _ in range(8)))
    assert {press.status_code for press in presses} == {303}, [press.text for press in presses]
    assert len({press.headers["location"] for press in presses}) == 1


@browsing
async def test_errors_appear_beside_their_fields_and_typed_values_stay(tab: Tab, service: Service) -> None:
    page = await tab.open(LORA)
    tab.wrong.append("")  # the browser logs the 422 of the form as an error
    await page.get_by_label("guidance_scale", exact=True).fill("9")
    await page.get_by_label("negative_prompt", exact=True).fill("dogs")
    await page.get_by_role("button", name="Submit", exact=True).click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.get_by_label("prompt", exact=True)).to_have_accessible_description(re.compile("is required"))
    scale = page.get_by_label("guidance_scale", exact=True)
    await expect(scale).to_have_value("9")
    await expect(scale).to_have_attribute("aria-invalid", "true")
    await expect(scale).to_have_accessible_description(re.compile("from 1.5 to 5"))
    await expect(page.get_by_label("negative_prompt", exact=True)).to_have_value("dogs")
    assert (await service.client.get("/v1/tasks")).json()["data"] == []
    tab.wrong.clear()


@browsing
async def test_the_code_follows_what_is_typed(tab: Tab) -> None:
    page = await tab.open("/try?provider=piapi&model=gpt-4o&task_type=chat-completions")
    await page.get_by_label("role", exact=True).fill("user")
    await page.get_by_role("textbox", name="content", exact=True).fill('it\'s "quoted"')
    for name in ("curl", "Python", "JavaScript"):
        await expect(page.get_by_role("region", name=name, exact=True)).to_contain_text("quoted")
    await expect(page.get_by_role("region", name="curl", exact=True)).to_contain_text("$CALLBRIDGE_KEY")
    await page.get_by_role("group", name="messages", exact=True).get_by_role("button", name="Add").click()
    await page.get_by_label("role", exact=True).last.fill("assistant")
    await expect(page.get_by_role("region", name="Python", exact=True)).to_contain_text("assistant")


@browsing
async def test_a_slider_and_its_number_are_one(tab: Tab) -> None:
    page = await tab.open(LORA)
    await page.get_by_label("denoise", exact=True).fill("0.25")
    slider = page.locator("input[type=range]").first
    assert await slider.input_value() == "0.25"
    await slider.fill("0.5")
    await expect(page.get_by_label("denoise", exact=True)).to_have_value("0.5")


@browsing
async def test_an_address_of_a_picture_is_previewed_when_it_is_typed(tab: Tab, service: Service, sandbox: str) -> None:
    done = await service.finished(
        {
            "provider": "piapi",
            "model": "Qubico/flux1-schnell",
            "task_type": "txt2img",
            "input": {"prompt": "x [sandbox: delay=0.01]"},
        }
    )
    page = await tab.open("/try?provider=modelslab&model=flux&task_type=img2img")
    await page.get_by_label("init_image", exact=True).fill(done["output"]["url"])
    await expect(page.get_by_role("img", name="Preview of init_image")).to_be_visible()
    await page.get_by_label("init_image", exact=True).fill("javascript:alert(1)")
    await expect(page.get_by_role("img", name="Preview of init_image")).to_be_hidden()


@browsing
async def test_without_scripts_choose_shows_the_fields(open_tab: OpenTab, service: Service) -> None:
    tab = await open_tab(java_script_enabled=False)
    page = await tab.open("/try")
    await page.get_by_label("Provider", exact=True).select_option("modelslab")
    await page.get_by_label("Model", exact=True).select_option("flux")
    await page.get_by_label("Task type", exact=True).select_option("text2img")
    await page.get_by_role("button", name="Choose", exact=True).click()
    await page.get_by_label("prompt", exact=True).fill("a cat [sandbox: delay=0.05]")
    await page.get_by_role("button", name="Submit", exact=True).click()
    await page.wait_for_url(re.compile("/tasks/tsk_"))
    assert (await service.client.get("/v1/tasks")).json()["data"][0]["provider"] == "modelslab"


@browsing
async def test_the_whole_input_may_be_written_as_json(open_tab: OpenTab, service: Service) -> None:
    tab = await open_tab(java_script_enabled=False)
    page = await tab.open("/try?provider=piapi&model=kling&task_type=video_generation")
    whole = page.get_by_label("Input (JSON)", exact=True)
    await whole.fill('{"prompt": "a cat" "duration": 5}')
    tab.wrong.append("")
    await page.get_by_role("button", name="Submit", exact=True).click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(whole).to_have_value('{"prompt": "a cat" "duration": 5}')
    await expect(whole).to_have_accessible_description(re.compile("line 1"))
    tab.wrong.clear()
    await whole.fill('{"prompt": "a cat [sandbox: delay=0.05]", "duration": 5}')
    await page.get_by_role("button", name="Submit", exact=True).click()
    await page.wait_for_url(re.compile("/tasks/tsk_"))
    assert (await service.client.get("/v1/tasks")).json()["data"][0]["input"]["duration"] == 5


@pytest.mark.parametrize("name", INPUTS)
def test_a_form_sent_back_untouched_holds_the_defaults_only(name: str) -> None:
    shape = shape_of(name)
    untouched = pruned(value_of(shape, Form(pairs_of(fields_of(shape))))) or {}
    defaults = {field: inner.default for field, inner, _ in shape.fields if inner.default is not None}
    assert untouched == defaults


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (
            "piapi/flux/txt2img-lora",
            {"prompt": "a\nb", "lora_settings": [{"lora_type": "anime", "lora_strength": 0.5}]},
        ),
        ("modelslab/flux-img2img", {"prompt": "x", "width": 512, "safety_checker": True, "base64": "no"}),
        (
            "piapi/chat-completions",
            {"messages": ["hello", {"role": "user", "content": "hi"}], "stop": ["a", "b"], "n": 2},
        ),
        (
            "piapi/chat-completions",
            {
                "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
                "logit_bias": {"50256": -100},
                "n": 1,
            },
        ),
    ],
)
def test_a_value_survives_the_round_trip_through_the_form(name: str, value: dict[str, object]) -> None:
    shape = shape_of(name)
    typed = pruned(value_of(shape, Form(pairs_of(fields_of(shape, value)))))
    assert {field: typed[field] for field in value} == value


@browsing
async def test_what_is_typed_before_the_chosen_fields_arrive_stays(tab: Tab) -> None:
    page = await tab.open("/try?provider=piapi&model=Qubico/flux1-schnell&task_type=txt2img")
    asked, answered = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        asked.set()
        await answered.wait()
        await route.continue_()

    await page.route(re.compile(r"/try\?"), hold)
    await page.get_by_label("Model", exact=True).select_option("Qubico/flux1-dev")
    await asked.wait()
    await page.get_by_label("prompt", exact=True).fill("a heron at dawn")
    async with page.expect_response(re.compile(r"/try/code")):
        answered.set()
    await expect(page.get_by_label("prompt", exact=True)).to_have_value("a heron at dawn")
    await expect(page.get_by_label("prompt", exact=True)).to_be_focused()
    await expect(page.get_by_role("region", name="curl", exact=True)).to_contain_text("a heron at dawn")
