"""The flow of publishing: the same as the command, with receipts on Prefect's page; and several publishers at once."""

from contextlib import closing
from pathlib import Path

import pytest

from bench.once import race
from flows.deployments import flow_for
from tasks.posts import post_store
from tasks.publish.claimed_account import PublishOutcome
from tasks.publish.publish import Postponed, PublishReport
from tasks.publish.report import lines, markdown, summary
from tasks.store.store import Store
from tests.support import approved


@pytest.mark.slow
@pytest.mark.parametrize("through", ["instagram", "graph"])
def test_two_processes_publish_each_post_once(url: str, tmp_path: Path, through: str) -> None:
    found = race(url, tmp_path, 40, through)
    once = ("posts", "published", "commits", "on the accounts", "tries")
    assert {name: found[name] for name in once} == dict.fromkeys(once, 40)
    assert (found["twice"], found["missing"]) == (0, 0)


def test_in_prefect_the_receipts_are_on_its_page(prefect: None, project: Path) -> None:
    from prefect.client.orchestration import get_client

    with closing(Store.open("", project / "studio")) as store:
        post = approved.approved(store, project / "studio", 1)
        run = flow_for("publish")
        rehearsed = run(rehearse=True)
        assert [(each["state"], each["publisher"]) for each in rehearsed["posts"]] == [("published", "instagram")]
        assert post_store.get_post(store, post.id).state == "approved"
        done = run()
        assert [(each["post"], each["state"]) for each in done["posts"]] == [(post.id, "published")]
    with get_client(sync_client=True) as client:
        kept = client._client.post("/artifacts/filter", json={}).json()
    texts = [(each["description"], each["data"]) for each in kept if each["key"] == "publishing"]
    assert any(title == "What was published" and "data:image/jpeg;base64," in text for title, text in texts)
    assert any(title == "A trial of publishing" and "Pip, day 1" in text for title, text in texts)


def test_captions_are_no_markup(tmp_path: Path) -> None:
    with closing(Store.open("", tmp_path)) as store:
        post = approved.approved(store, tmp_path, 1, caption="<b>*bold*</b>\n# head [x](y)")
    report = PublishReport([PublishOutcome(post, "no answer")], [Postponed("pip_daily", "it is not due yet")])
    text = markdown(report, tmp_path)
    assert r"\<b\>\*bold\*\</b\> \# head \[x\](y)" in text
    assert list(lines(report))[1] == "waiting: pip_daily: it is not due yet"
    assert summary(report)["waiting"][0] == {
        "account": "pip_daily",
        "post": "",
        "why": "it is not due yet",
        "until": "",
    }
