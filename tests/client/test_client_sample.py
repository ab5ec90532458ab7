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
