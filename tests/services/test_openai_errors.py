"""What OpenAI's own client raises: its exception for each refusal, with our field and our sentence in it."""

from typing import Any

import openai
import pytest
from api_service import Api
from openai_sdk import sdk_of

UNKNOWN = "job-0123456789abcdef"
DATASET = "ds-" + "0" * 32
CALLS: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = (
    ("files.create", (), {"file": ("a.txt", b"text"), "purpose": "fine-tune"}),
    ("files.list", (), {}),
    ("files.retrieve", (DATASET,), {}),
    ("files.content", (DATASET,), {}),
    ("files.delete", (DATASET,), {}),
    ("fine_tuning.jobs.create", (), {"model": "gru", "training_file": DATASET}),
    ("fine_tuning.jobs.list", (), {}),
    ("fine_tuning.jobs.retrieve", (UNKNOWN,), {}),
    ("fine_tuning.jobs.cancel", (UNKNOWN,), {}),
    ("fine_tuning.jobs.pause", (UNKNOWN,), {}),
    ("fine_tuning.jobs.resume", (UNKNOWN,), {}),
    ("fine_tuning.jobs.list_events", (UNKNOWN,), {}),
    ("fine_tuning.jobs.checkpoints.list", (UNKNOWN,), {}),
    ("models.list", (), {}),
    ("models.retrieve", (UNKNOWN,), {}),
    ("models.delete", (UNKNOWN,), {}),
)
LOOKS = ("list", "retrieve", "content", "list_events")
NAMES = [call for call, _, _ in CALLS]


def key(api: Api, **wishes: Any) -> str:
    return str(api.client.post("/v1/keys", json=wishes).json()["key"])


@pytest.mark.parametrize(("call", "arguments", "named"), CALLS, ids=NAMES)
def test_call_without_a_valid_key_is_an_authentication_error(
    api: Api, call: str, arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    with sdk_of(api, api_key="unroll-nobodys") as sdk, pytest.raises(openai.AuthenticationError) as refused:
        sdk(call, *arguments, **named)
    assert (refused.value.code, refused.value.type) == ("invalid_api_key", "authentication_error")
    assert refused.value.request_id


@pytest.mark.parametrize(("call", "arguments", "named"), CALLS, ids=NAMES)
def test_key_that_may_only_look_changes_nothing(
    api: Api, call: str, arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    with sdk_of(api, api_key=key(api, scopes=["read"])) as sdk:
        try:
            sdk(call, *arguments, **named)
            raised: type[Exception] | None = None
        except openai.APIStatusError as error:
            raised = type(error)
    if call.rpartition(".")[2] in LOOKS:
        assert raised in (None, openai.NotFoundError)
    else:
        assert raised is openai.PermissionDeniedError
    assert api.stored() == []


@pytest.mark.parametrize(("call", "arguments", "named"), CALLS, ids=NAMES)
def test_key_that_may_only_train_sees_nothing(
    api: Api, call: str, arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    with sdk_of(api, api_key=key(api, scopes=["train", "sample"])) as sdk:
        try:
            sdk(call, *arguments, **named)
            raised: type[Exception] | None = None
        except openai.APIStatusError as error:
            raised = type(error)
    is_look = call.rpartition(".")[2] in LOOKS
    assert (raised is openai.PermissionDeniedError) == is_look


@pytest.mark.parametrize(
    ("call", "arguments", "named"),
    [row for row in CALLS if row[1] or row[0] == "fine_tuning.jobs.create"],
    ids=[call for call, arguments, _ in CALLS if arguments or call == "fine_tuning.jobs.create"],
)
def test_what_is_not_there_is_a_not_found_error(
    api: Api, call: str, arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    with sdk_of(api) as sdk, pytest.raises(openai.NotFoundError) as refused:
        sdk(call, *arguments, **named)
    params = {"files": "file_id", "fine_tuning": "job_id", "models": "model_id"}
    wanted = "training_file" if call.endswith("create") else params[call.partition(".")[0]]
    assert (refused.value.code, refused.value.param) == ("not_found", wanted)


def test_limit_out_of_range_is_an_unprocessable_entity_error(api: Api) -> None:
    with sdk_of(api) as sdk:
        for call in ("files.list", "fine_tuning.jobs.list"):
            with pytest.raises(openai.UnprocessableEntityError) as refused:
                sdk(call, limit=10_001)
            assert refused.value.param == "limit"


def test_key_that_asks_too_often_is_a_rate_limit_error(api: Api) -> None:
    with sdk_of(api, api_key=key(api, requests_per_minute=1)) as sdk:
        sdk("models.list")
        with pytest.raises(openai.RateLimitError) as refused:
            sdk("models.list")
    assert refused.value.code == "rate_limit_exceeded"
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 60


def test_nearly_full_disk_is_an_internal_server_error(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = api.upload()["id"]
    monkeypatch.setattr(api.app.state.rooms.storage, "_reserve_bytes", 1 << 60)
    with sdk_of(api) as sdk:
        for call, named in (
            ("files.create", {"file": b"text", "purpose": "fine-tune"}),
            ("fine_tuning.jobs.create", {"model": "gru", "training_file": dataset}),
        ):
            with pytest.raises(openai.InternalServerError) as refused:
                sdk(call, **named)
            assert (refused.value.status_code, refused.value.code) == (507, "storage_full")
