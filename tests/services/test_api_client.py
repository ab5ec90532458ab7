"""What the client offers, asked of the real service: both agree on every field."""

import datetime as dt
from collections.abc import Iterator

import pytest
from api_service import TEXT, Api
from unroll import AuthenticationError, Client, NotFoundError
from unroll.types import Amounts, Usage, Webhook

from services.webhooks import signing_secret


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    with Client(api.url, api.key) as client:
        yield client


@pytest.fixture
def webhooks_on(api: Api) -> Iterator[None]:
    api.app.state.rooms.__dict__["settings"] = api.settings.model_copy(update={"webhooks": "on"})
    yield
    api.app.state.rooms.__dict__["settings"] = api.settings


@pytest.mark.usefixtures("webhooks_on")
def test_client_makes_lists_and_deletes_webhooks(api: Api, client: Client) -> None:
    made = [client.webhooks.create(f"http://a.example/{number}") for number in range(3)]
    assert [webhook.secret for webhook in made] == [signing_secret(api.settings.secret, one.id) for one in made]
    client.webhooks.delete(made[1].id)
    kept = [Webhook(**made[place].model_dump(exclude={"secret"})) for place in (2, 0)]
    assert list(client.webhooks.list()) == kept
    with pytest.raises(NotFoundError, match=made[1].id):
        client.webhooks.delete(made[1].id)


def test_client_says_that_webhooks_are_off(client: Client) -> None:
    with pytest.raises(AuthenticationError, match="UNROLL_WEBHOOKS=on"):
        client.webhooks.create("https://a.example/")


def test_client_reads_usage_between_two_days(api: Api, client: Client) -> None:
    api.submit()
    job = api.claim()
    job.write(totals={"characters:gru": 330, "steps:gru": 10})
    today = dt.datetime.now(dt.UTC).date()
    used = client.usage()
    assert (used.tenant, used.start, used.end) == ("default", today - dt.timedelta(days=30), today)
    assert (used.total.characters_trained, used.total.training_steps, used.total.tokens_sampled) == (330, 10, 0)
    assert [(day.date, day.characters_trained) for day in used.days] == [(today, 330)]
    start, end = dt.date(2026, 2, 3), dt.date(2026, 2, 7)
    none = Amounts(characters_trained=0, training_steps=0, worker_seconds=0.0, tokens_sampled=0)
    expected = Usage(
        object="usage", tenant="default", start=start, end=end, stored_bytes=len(TEXT), total=none, days=[]
    )
    assert client.usage(start, end).model_dump() == expected.model_dump()


def test_client_waits_for_its_rate_limit_instead_of_failing(api: Api) -> None:
    made = api.client.post("/v1/keys", json={"requests_per_minute": 60}).json()
    with Client(api.url, made["key"]) as client:
        assert [list(client.jobs.list()) for _ in range(13)] == [[]] * 13
