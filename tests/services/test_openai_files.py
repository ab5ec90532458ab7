"""Files, as OpenAI's own client uploads, lists, reads and deletes them: data sets under the same ids."""

import json
from typing import Any

import openai
import pytest
from api_service import SMALL_TRAIN, TEXT, Api
from openai_sdk import Sdk, sdk_of

ROWS = [{"text": "abc", "label": "x"}, {"text": "cba", "label": "y"}]


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def upload(sdk: Sdk, content: bytes = TEXT.encode(), name: str = "book.txt", **named: Any) -> Any:
    return sdk("files.create", **{"file": (name, content), "purpose": "fine-tune"} | named)


def test_file_is_a_data_set_under_the_same_id(api: Api, sdk: Sdk) -> None:
    file = upload(sdk)
    dataset = api.client.get(f"/v1/datasets/{file.id}").json()
    assert file.to_dict() == {
        "id": dataset["id"],
        "object": "file",
        "bytes": len(TEXT),
        "created_at": int(dataset["created_at"]),
        "filename": "book.txt",
        "purpose": "fine-tune",
        "status": "processed",
        "unroll": dataset,
    }
    assert sdk("files.retrieve", file.id) == file
    assert sdk.all("files.list") == [file]
    assert sdk("files.content", file.id).text == TEXT
    assert sdk("files.wait_for_processing", file.id) == file


def test_data_set_of_the_other_door_is_a_file(api: Api, sdk: Sdk) -> None:
    dataset = api.upload(name="ours")
    assert [(file.id, file.filename) for file in sdk.all("files.list")] == [(dataset["id"], "ours")]
    nameless = api.upload("another text " * 9)["id"]
    assert sdk("files.retrieve", nameless).filename == nameless


@pytest.mark.parametrize("order", ["desc", "asc"])
def test_loop_over_pages_of_files_ends_with_the_last(sdk: Sdk, order: str) -> None:
    ids = [upload(sdk, f"text number {number} ".encode() * 9).id for number in range(5)]
    wanted = ids if order == "asc" else ids[::-1]
    assert [file.id for file in sdk.all("files.list", limit=2, order=order)] == wanted
    assert [file.id for file in sdk.all("files.list", after=wanted[3], order=order)] == wanted[4:]


def test_list_of_another_purpose_is_empty(sdk: Sdk) -> None:
    upload(sdk)
    assert sdk.all("files.list", purpose="assistants") == []
    assert len(sdk.all("files.list", purpose="fine-tune")) == 1


def test_deleted_file_is_gone_with_its_bytes(api: Api, sdk: Sdk) -> None:
    file = upload(sdk)
    assert sdk("files.delete", file.id).to_dict() == {"id": file.id, "object": "file", "deleted": True}
    assert api.stored() == []
    with pytest.raises(openai.NotFoundError):
        sdk("files.retrieve", file.id)


def test_file_of_an_unfinished_job_stays(api: Api, sdk: Sdk) -> None:
    file = upload(sdk)
    api.submit(file.id)
    with pytest.raises(openai.ConflictError, match="is read by 1 unfinished jobs"):
        sdk("files.delete", file.id)
    assert sdk("files.content", file.id).text == TEXT


def test_file_of_another_tenant_is_not_there(api: Api) -> None:
    with api.other_tenant() as stranger:
        theirs = stranger.post("/v1/datasets", content=TEXT).json()["id"]
    with sdk_of(api) as sdk:
        for method in ("retrieve", "content", "delete"):
            with pytest.raises(openai.NotFoundError):
                sdk(f"files.{method}", theirs)
        assert sdk.all("files.list") == []


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("names.jsonl", lines(*ROWS), "labelled"),
        ("waves.json", lines({"series": [1, 2, 3], "label": 1}, {"series": [3, 2, 1], "label": 2}), "labelled"),
        ("stress.jsonl", lines({"inputs": "abc", "tags": "010"}, {"inputs": "cb", "tags": "10"}), "tagged"),
        ("spelling.jsonl", lines({"source": "ab", "target": "xyz"}, {"source": "b", "target": "z"}), "pairs"),
        ("sums.jsonl", lines({"inputs": [1, 2], "target": 3}, {"inputs": [3, 4], "target": 7}), "sequences"),
        ("names.csv", b"text,label\nabc,x\ncba,y\n", "labelled"),
        ("spelling.tsv", b"source\ttarget\nab\txyz\nb\tz\n", "pairs"),
        ("weather.csv", b"wind,rain\n1,2\n3,4\n5,6\n", "series"),
        ("log.jsonl", lines({"message": "a"}, {"message": "b"}), "text"),
        ("prices.txt", b"wind,rain\n1,2\n3,4\n5,6\n", "text"),
        ("broken.jsonl", b'{"text": "abc", \n', "text"),
    ],
)
def test_kind_is_recognised_by_the_first_row(api: Api, name: str, content: bytes, kind: str) -> None:
    with sdk_of(api) as sdk:
        assert upload(sdk, content, name).unroll["kind"] == kind


def test_what_is_named_besides_is_taken(sdk: Sdk) -> None:
    file = upload(sdk, lines(*ROWS), extra_body={"kind": "text", "vocabulary": "bytes"})
    assert file.unroll["summary"]["vocabulary"] == "bytes"
    table = b"wind,rain\n1,2\n3,4\n5,6\n"
    assert upload(sdk, table, extra_body={"kind": "series", "target": "wind"}).unroll["summary"]["target"] == "wind"


@pytest.mark.parametrize(
    ("named", "param"),
    [
        ({"purpose": "assistants"}, "purpose"),
        ({"expires_after": {"anchor": "created_at", "seconds": 3600}}, "expires_after[anchor]"),
        ({"extra_body": {"kind": "novel"}}, "kind"),
        ({"extra_body": {"vocabulary": "words"}}, "vocabulary"),
        ({"extra_body": {"target": "rain"}}, "target"),
        ({"extra_body": {"colour": "red"}}, "colour"),
    ],
)
def test_field_that_cannot_be_meant_is_refused_by_name(sdk: Sdk, api: Api, named: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        upload(sdk, **named)
    assert refused.value.param == param
    assert api.stored() == []


def test_fault_in_a_row_is_named_and_nothing_is_kept(api: Api, sdk: Sdk) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="row 2, column label: is missing"):
        upload(sdk, lines(ROWS[0], {"text": "cba"}), "names.jsonl")
    assert api.stored() == []


def test_file_over_the_limit_is_refused(api: Api) -> None:
    with sdk_of(api) as sdk, pytest.raises(openai.APIStatusError, match="UNROLL_MAX_UPLOAD_BYTES") as refused:
        upload(sdk, b"ab" * 50_000)
    assert refused.value.status_code == 413
    assert api.stored() == []


def test_body_that_is_no_form_is_refused(api: Api) -> None:
    answer = api.client.post("/v1/files", content=TEXT)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "file")


def test_uploaded_file_trains(api: Api, sdk: Sdk) -> None:
    body = {"dataset": upload(sdk).id, "train": SMALL_TRAIN}
    assert api.client.post("/v1/jobs", json=body).status_code == 200
