"""Does the page of the contracts show all of them, and ask for nothing from elsewhere?"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from libs.common.devstack.page.contracts import CONTRACTS, page, write
from libs.common.events import EVENT_TYPES
from tests.unit.page.given import page as application


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(tmp_path)[0])
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as made:
        yield made


def section(name: str) -> str:
    _, _, rest = page().partition(f'<section id="{name}">')
    return rest.partition("</section>")[0]


@pytest.mark.parametrize("path", sorted(CONTRACTS.glob("topics/*.yaml")), ids=lambda p: p.stem)
def test_every_topic_has_a_place_of_its_own(path: Path) -> None:
    assert f'href="#{path.stem}"' in page()
    assert section(path.stem)


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_type_shows_its_fields_and_its_examples(name: str) -> None:
    shown = section(name)
    schema = json.loads((CONTRACTS / "schemas" / f"{name}.json").read_text("utf-8"))
    for field in schema["properties"]:
        assert f">{field}</code>" in shown
    for path in (CONTRACTS / "examples" / name).glob("*.json"):
        assert f"<summary>{path.name}</summary>" in shown


def test_fields_within_fields_have_their_path_and_say_if_they_are_personal() -> None:
    shown = section("hospital.encounter.discharged.v1")
    row = shown.partition(">guardians[].phone</code>")[2].partition("</tr>")[0]
    assert "personal" in row and "required" not in row and "+86 139 0000 2087" in row
    row = shown.partition(">disposition</code>")[2].partition("</tr>")[0]
    assert "required" in row and "one of home, transferred" in row
    row = shown.partition(">procedures[].system</code>")[2].partition("</tr>")[0]
    assert "if absent, ICD-9-CM-3" in row


def test_the_page_asks_for_nothing_and_runs_nothing() -> None:
    text = page()
    assert "<script" not in text and "<link" not in text and "@import" not in text
    assert not re.search(r"(src|srcset)=|url\(", text)


def test_every_link_within_the_page_leads_somewhere(tmp_path: Path) -> None:
    text = write(tmp_path).read_text("utf-8")
    places = set(re.findall(r'id="([^"]+)"', text))
    for link in re.findall(r'href="([^"]+)"', text):
        if link.startswith("#"):
            assert link[1:] in places
        elif "://" not in link:
            assert (tmp_path / link).is_file(), link


async def test_the_running_platform_serves_it_with_its_files(client: httpx.AsyncClient) -> None:
    answer = await client.get("/contracts/")
    assert answer.status_code == 200 and answer.text == page()
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert (await client.get("/contracts", follow_redirects=True)).text == page()
    schema = await client.get("/contracts/files/schemas/hospital.group.full.v1.json")
    assert schema.json()["title"] == "hospital.group.full.v1"
    assert 'href="/contracts/"' in (await client.get("/")).text
