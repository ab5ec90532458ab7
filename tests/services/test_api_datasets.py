"""Uploads: what is kept of a good one, and that nothing is kept of a bad one."""

import hashlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from api_service import TEXT, Api

from services.jobqueue.datasets import Datasets
from services.jobqueue.records import Dataset

LIMIT = 10_000


def upload(api: Api, content: Any, **named: Any) -> httpx.Response:
    return api.client.post("/v1/datasets", content=content, **named)


def in_pieces(content: bytes, size: int) -> Iterator[bytes]:
    """A body without Content-Length."""
    yield from (content[at : at + size] for at in range(0, len(content), size))


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


def test_upload_is_described_and_can_be_read_back(api: Api) -> None:
    text = "añ€😀 tab\tand\r\nlines\x0c" * 3
    raw = text.encode()
    made = upload(api, raw, params={"kind": "text", "name": "odd"}).json()
    assert made == {
        "id": made["id"],
        "object": "dataset",
        "kind": "text",
        "name": "odd",
        "created_at": made["created_at"],
        "num_bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "summary": {"vocabulary": "characters", "num_symbols": len(text), "num_distinct": len(set(text))},
        "uses": 0,
    }
    path = f"/v1/datasets/{made['id']}"
    assert api.client.get(path).json() == made
    assert api.client.get(f"{path}/content").content == raw
    assert api.client.get(f"{path}/preview").json() == {"text": text}


def test_symbols_cut_by_the_edges_of_pieces_are_counted_once(api: Api) -> None:
    text = "añ€😀" * 50
    made = upload(api, in_pieces(text.encode(), 3)).json()
    assert made["summary"] == {"vocabulary": "characters", "num_symbols": 200, "num_distinct": 4}


def test_multipart_file_is_the_same_data_set_as_the_raw_body(api: Api) -> None:
    raw = upload(api, TEXT.encode()).json()
    form = api.client.post("/v1/datasets", files={"file": ("name.txt", TEXT.encode(), "text/plain")})
    assert form.json() == raw


def test_equal_bytes_are_one_data_set_kept_once(api: Api) -> None:
    first = upload(api, b"abcabc", params={"name": "first"}).json()
    assert upload(api, b"abcabc", params={"name": "second"}).json() == first
    assert len(api.stored()) == 1
    assert api.client.get("/v1/datasets").json()["data"] == [first]


def test_equal_bytes_of_two_tenants_share_nothing(api: Api) -> None:
    ours = upload(api, b"abcabc").json()
    with api.other_tenant() as stranger:
        theirs = stranger.post("/v1/datasets", content=b"abcabc").json()
        assert theirs["id"] != ours["id"]
        assert stranger.delete(f"/v1/datasets/{theirs['id']}").status_code == 200
    assert api.client.get(f"/v1/datasets/{ours['id']}/content").content == b"abcabc"


def test_bytes_that_are_no_text_are_kept_as_bytes(api: Api) -> None:
    made = upload(api, bytes(range(256)), params={"vocabulary": "bytes"}).json()
    assert made["summary"] == {"vocabulary": "bytes", "num_symbols": 256, "num_distinct": 256}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the text is empty; upload at least two different symbols"),
        (b"aaaa", "the text consists of one symbol, 'a', 4 times"),
        (b"abc\xffdef", "byte 0xFF at offset 3 is not UTF-8"),
        ("ab€".encode()[:-1], "byte 0xE2 at offset 2 is not UTF-8"),
        (b"ab\xed\xa0\x80", "byte 0xED at offset 2 is not UTF-8"),
        (b"ab\xc0\xaf", "byte 0xC0 at offset 2 is not UTF-8"),
    ],
)
@pytest.mark.parametrize("is_form", [False, True])
def test_text_that_breaks_a_rule_is_refused_and_not_kept(api: Api, content: bytes, told: str, is_form: bool) -> None:
    named = {"files": {"file": ("f", content)}} if is_form else {"content": content}
    error = error_of(api.client.post("/v1/datasets", **named), 422)
    assert told in error["message"]
    assert error["param"] == "file"
    assert api.stored() == []


def test_offset_of_a_bad_byte_is_counted_over_all_pieces(api: Api) -> None:
    content = b"ab" * 2000 + "€".encode() + b"\x80" + b"ab"
    error = error_of(upload(api, in_pieces(content, 7)), 422)
    assert "byte 0x80 at offset 4003 is not UTF-8" in error["message"]


def test_upload_of_exactly_the_limit_is_taken(api: Api) -> None:
    assert upload(api, b"ab" * (LIMIT // 2)).json()["num_bytes"] == LIMIT


@pytest.mark.parametrize("content", [b"ab" * LIMIT, lambda: in_pieces(b"ab" * LIMIT, 500)], ids=["length", "no length"])
def test_upload_over_the_limit_is_413_and_not_kept(api: Api, content: Any) -> None:
    error = error_of(upload(api, content() if callable(content) else content), 413)
    assert (error["code"], error["param"]) == ("too_large", "file")
    assert f"over {LIMIT} bytes (UNROLL_MAX_UPLOAD_BYTES)" in error["message"]
    assert api.stored() == []


@pytest.mark.parametrize("has_length", [True, False])
def test_form_over_the_limit_is_413_and_not_kept(api: Api, has_length: bool) -> None:
    body = httpx.Request("POST", "http://x", files={"file": ("f", b"ab" * LIMIT)})
    content = body.read()
    answer = api.client.post(
        "/v1/datasets",
        content=content if has_length else in_pieces(content, 500),
        headers={"content-type": body.headers["content-type"]},
    )
    assert error_of(answer, 413)["code"] == "too_large"
    assert api.stored() == []


def test_file_in_a_form_may_have_exactly_the_limit(api: Api) -> None:
    answer = api.client.post("/v1/datasets", files={"file": ("f", b"ab" * (LIMIT // 2))})
    assert answer.json()["num_bytes"] == LIMIT


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x"])
def test_upload_without_end_is_refused_while_it_still_comes(api: Api, content_type: str) -> None:
    begin = b'--x\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
    connection = http.client.HTTPConnection(api.url.removeprefix("http://"), timeout=20)
    connection.putrequest("POST", "/v1/datasets")
    for name, value in (
        ("authorization", api.client.headers["authorization"]),
        ("content-type", content_type),
        ("transfer-encoding", "chunked"),
    ):
        connection.putheader(name, value)
    connection.endheaders()
    for piece in (begin, *[b"ab" * LIMIT] * 10):
        connection.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    with connection.getresponse() as answer:
        assert answer.status == 413
        assert json.loads(answer.read())["error"]["code"] == "too_large"
    connection.close()
    assert api.stored() == []


@pytest.mark.parametrize(
    "named",
    [
        {"files": {"other": ("f", b"abab")}},
        {"data": {"file": "abab"}, "files": {"x": ("", b"")}},
        {"files": [("file", ("a", b"abab")), ("file", ("b", b"abab"))]},
        {"content": b"junk", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"junk", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"--x\r\nno colon\r\n\r\nabab", "headers": {"content-type": "multipart/form-data; boundary=x"}},
    ],
)
def test_form_without_one_file_of_that_name_is_422(api: Api, named: dict[str, Any]) -> None:
    error = error_of(api.client.post("/v1/datasets", **named), 422)
    assert error["param"] == "file"
    assert api.stored() == []


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_compressed_upload_is_415(api: Api, encoding: str) -> None:
    error = error_of(upload(api, b"abab", headers={"content-encoding": encoding}), 415)
    assert error["param"] == "content-encoding"
    assert api.stored() == []


@pytest.mark.parametrize(
    ("params", "param"),
    [({"kind": "images"}, "kind"), ({"vocabulary": "words"}, "vocabulary"), ({"name": "n" * 201}, "name")],
)
def test_bad_parameter_is_named(api: Api, params: dict[str, str], param: str) -> None:
    assert error_of(upload(api, b"abab", params=params), 422)["param"] == param


def test_data_sets_are_listed_newest_first_to_the_end(api: Api) -> None:
    ids = [api.upload(f"abc{number}")["id"] for number in range(5)][::-1]
    seen: list[str] = []
    page: dict[str, Any] = {"has_more": True, "last_id": None}
    while page["has_more"]:
        after = {"after": page["last_id"]} if page["last_id"] else {}
        page = api.client.get("/v1/datasets", params={"limit": 2, **after}).json()
        assert (page["object"], page["first_id"], page["last_id"]) == (
            "list",
            page["data"][0]["id"],
            page["data"][-1]["id"],
        )
        seen += [dataset["id"] for dataset in page["data"]]
    assert seen == ids
    empty = api.client.get("/v1/datasets", params={"after": seen[-1]}).json()
    assert empty == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


def test_list_behind_an_unknown_id_is_404(api: Api) -> None:
    error = error_of(api.client.get("/v1/datasets", params={"after": "ds-nothing"}), 404)
    assert error["param"] == "after"


def test_data_set_in_use_is_409_until_its_job_has_ended(api: Api) -> None:
    job = api.submit()
    path = f"/v1/datasets/{job['spec']['dataset']}"
    assert api.client.get(path).json()["uses"] == 1
    assert error_of(api.client.delete(path), 409)["param"] == "dataset_id"
    api.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert api.client.delete(path).json() == {"id": job["spec"]["dataset"], "object": "dataset", "deleted": True}
    assert api.stored() == []
    for suffix in ("", "/content", "/preview"):
        assert api.client.get(path + suffix).status_code == 404


def test_deleted_data_set_can_be_uploaded_again(api: Api) -> None:
    first = api.upload("abcabc")
    api.client.delete(f"/v1/datasets/{first['id']}")
    again = api.upload("abcabc")
    assert again["id"] == first["id"]
    assert api.client.get(f"/v1/datasets/{again['id']}/content").content == b"abcabc"


def test_preview_is_the_beginning_and_ends_between_two_symbols(api: Api) -> None:
    made = api.upload("a" + "€" * 3000)
    text = api.client.get(f"/v1/datasets/{made['id']}/preview").json()["text"]
    assert text == "a" + "€" * 1333


class FullDatasets(Datasets):
    """Has no memory left for one more."""

    def put(self, dataset: Dataset, blob: str) -> tuple[Dataset, str]:
        self._redis.config_set("maxmemory", "1")
        try:
            return super().put(dataset, blob)
        finally:
            self._redis.config_set("maxmemory", "1gb")


def test_upload_that_a_full_queue_refuses_is_503_and_not_kept(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.app.state.rooms.queue, "datasets", FullDatasets(api.scripts))
    assert error_of(upload(api, b"abab"), 503)["code"] == "overloaded"
    assert api.stored() == []
