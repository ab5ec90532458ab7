"""`unroll sample`: text as it comes, whole objects, broken streams."""

import json

from fake_unroll_server import DONE, JOB, answer, stream


def _chunk(text, index=0, finish_reason=None):
    choice = {"index": index, "text": text, "finish_reason": finish_reason, "logprobs": None}
    return f"data: {json.dumps({'id': 'cmpl-1', 'object': 'text_completion', 'choices': [choice]})}\n\n"


def test_sample_streams_the_text_exactly_to_a_pipe(server, unroll_command):
    server.on("POST", "/v1/completions", stream(_chunk("To \x1b"), _chunk("be\n"), _chunk("", 0, "length"), DONE))
    words = ("--prompt", "O ", "--max-tokens", "5", "--temperature", "0", "--stop", "a", "--stop", "b", "--seed", "0")
    result = unroll_command("sample", JOB, *words)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "To \x1bbe\n", "")
    assert server.requests[0].json() == {
        "model": JOB,
        "prompt": "O ",
        "max_tokens": 5,
        "temperature": 0.0,
        "stop": ["a", "b"],
        "seed": 0,
        "stream": True,
    }


def test_sample_names_a_readable_length_and_leaves_the_rest_to_the_server(server, unroll_command):
    server.on("POST", "/v1/completions", stream(DONE))
    assert unroll_command("sample", f"{JOB}:step-7").exit_code == 0
    assert server.requests[0].json() == {"model": f"{JOB}:step-7", "prompt": "", "max_tokens": 400, "stream": True}


def test_error_in_mid_stream_exits_1_after_what_was_written(server, unroll_command):
    error = "data: " + json.dumps({"error": {"message": "the sampler is gone", "type": "server_error"}}) + "\n\n"
    server.on("POST", "/v1/completions", stream(_chunk("To"), error))
    result = unroll_command("sample", JOB)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "To", "unroll: the sampler is gone\n")


def test_stream_that_falls_silent_is_no_success(server, unroll_command):
    server.on("POST", "/v1/completions", stream(_chunk("To")))
    result = unroll_command("sample", JOB)
    assert (result.exit_code, result.stdout) == (6, "To")
    assert "broke off" in result.stderr


def test_several_texts_come_whole_and_in_order(server, unroll_command):
    choices = [{"index": 1, "text": "second"}, {"index": 0, "text": "first"}]
    server.on("POST", "/v1/completions", answer({"id": "cmpl-1", "choices": choices}))
    result = unroll_command("sample", JOB, "-n", "2", "--top-k", "3", "--top-p", "0.5")
    assert (result.exit_code, result.stdout) == (0, "first\nsecond\n")
    assert server.requests[0].json() == {
        "model": JOB,
        "prompt": "",
        "max_tokens": 400,
        "n": 2,
        "top_k": 3,
        "top_p": 0.5,
    }


def test_sample_json_prints_the_completion_as_the_server_sent_it(server, unroll_command):
    completion = {"id": "cmpl-1", "object": "text_completion", "choices": [{"index": 0, "text": "\u202ex"}], "extra": 1}
    server.on("POST", "/v1/completions", answer(completion))
    result = unroll_command("sample", JOB, "--json")
    assert json.loads(result.stdout) == completion
    assert result.stdout.isascii()


def test_inspect_shows_surprisal_and_gradient_against_lag(server, unroll_command):
    seen = {
        "task": "language_model",
        "symbols": [
            {"symbol": "a", "surprisal": None, "top": []},
            {"symbol": "\x1b", "surprisal": 2.5, "top": [{"symbol": "b", "probability": 0.75}]},
        ],
        "gradient": {"answer": "surprisal of the next symbol", "layers": [{"hidden": [1.0, 0.01], "cell": None}]},
    }
    server.on("POST", "/v1/inspect", answer(seen))
    result = unroll_command("inspect", JOB, "a\x1b", "--lags", "1")
    assert (result.exit_code, server.requests[0].json()) == (0, {"model": JOB, "input": "a\x1b", "lags": 1})
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[2] == [r"'\x1b'", "2.500", "'b'", "0.75"]
    assert lines[-2:] == [["0", "1", "#" * 24], ["1", "0.01", "#" * 20]]
    assert "by the hidden state of layer 0" in result.stderr


def test_export_writes_the_format_that_the_name_says(server, unroll_command, tmp_path):
    server.on("GET", f"/v1/models/{JOB}/export", answer({"weights": 1}))
    path = tmp_path / "model.onnx"
    result = unroll_command("export", JOB, str(path))
    assert (result.exit_code, result.stderr) == (0, f"wrote {path}\n")
    assert json.loads(path.read_bytes()) == {"weights": 1}
    assert server.requests[0].query == {"format": "onnx"}
    assert unroll_command("export", JOB, str(tmp_path / "model.pt")).exit_code == 2
