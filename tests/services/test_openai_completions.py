"""Completions as the unmodified `openai` package asks for them and takes them, against the real sampler."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
import torch
from api_service import Api, Trained
from openai.types import Completion

from rnncore.checkpoint import load_checkpoint, restore_network

PROMPT = "the cat sat "

pytestmark = pytest.mark.usefixtures("sampler")


@pytest.fixture(params=[True, False], ids=["strict", "lenient"])
def client(api: Api, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        api_key=api.key,
        base_url=f"{api.client.base_url}/v1",
        max_retries=0,
        _strict_response_validation=request.param,
    ) as client:
        yield client


@pytest.fixture
def lenient(api: Api) -> Iterator[openai.OpenAI]:
    """For echo and streams, whose nulls strict validation refuses in OpenAI's own answers too."""
    with openai.OpenAI(api_key=api.key, base_url=f"{api.client.base_url}/v1", max_retries=0) as client:
        yield client


def text_of(completion: Completion) -> str:
    return completion.choices[0].text


def test_completion_is_whole_and_counted(client: openai.OpenAI, model: str, trained: Trained) -> None:
    found = client.completions.create(model=model, prompt=PROMPT, max_tokens=9, seed=3)
    assert (found.object, found.model, found.choices[0].finish_reason) == ("text_completion", model, "length")
    assert len(text_of(found)) == 9
    assert found.system_fingerprint == f"fp_{trained.manifest.parameters_sha256[:16]}"
    assert found.usage is not None
    assert found.usage.to_dict() == {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21}


def test_prompts_of_every_form_are_answered_in_order(client: openai.OpenAI, model: str, trained: Trained) -> None:
    symbols = trained.manifest.encoding.symbols.symbols
    ids = [[symbols.index(symbol) for symbol in text] for text in (PROMPT, "a dog")]
    asked: dict[str, Any] = {"model": model, "max_tokens": 6, "temperature": 0}
    single = [text_of(client.completions.create(prompt=text, **asked)) for text in (PROMPT, "a dog")]
    for prompt in ([PROMPT, "a dog"], ids):
        found = client.completions.create(prompt=prompt, **asked)
        assert [(choice.index, choice.text) for choice in found.choices] == list(enumerate(single))
    assert text_of(client.completions.create(prompt=ids[0], **asked)) == single[0]


def test_n_texts_differ_and_each_has_a_seed_of_its_own(client: openai.OpenAI, model: str) -> None:
    found = client.completions.create(model=model, prompt=PROMPT, max_tokens=12, seed=5, n=3)
    assert [choice.index for choice in found.choices] == [0, 1, 2]
    assert len({choice.text for choice in found.choices}) == 3
    third = client.completions.create(model=model, prompt=PROMPT, max_tokens=12, seed=7)
    assert found.choices[2].text == text_of(third)


def test_best_of_answers_the_likeliest(client: openai.OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "prompt": PROMPT, "max_tokens": 8, "seed": 1, "logprobs": 0}
    every = client.completions.create(n=5, **asked)
    best = client.completions.create(n=2, best_of=5, **asked)
    ranked = sorted(every.choices, key=lambda choice: -sum(choice.logprobs.token_logprobs))  # type: ignore
    assert [choice.text for choice in best.choices] == [choice.text for choice in ranked[:2]]
    assert [choice.index for choice in best.choices] == [0, 1]
    assert best.usage is not None
    assert best.usage.completion_tokens == 40


def test_logprobs_name_the_symbols_their_places_and_the_likeliest(client: openai.OpenAI, model: str) -> None:
    found = client.completions.create(model=model, prompt=PROMPT, max_tokens=7, seed=2, logprobs=3).choices[0]
    logprobs = found.logprobs
    assert logprobs is not None
    assert logprobs.tokens is not None
    assert ("".join(logprobs.tokens), logprobs.text_offset) == (found.text, list(range(7)))
    for token, logprob, top in zip(
        logprobs.tokens, logprobs.token_logprobs or [], logprobs.top_logprobs or [], strict=True
    ):
        assert top[token] == logprob
        assert 3 <= len(top) <= 4
        assert logprob <= max(top.values()) <= 0


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_harness_scores_a_text_by_echo(lenient: openai.OpenAI, model: str, trained: Trained, max_tokens: int) -> None:
    """Evaluation harnesses send token ids, echo and logprobs, and read the scores of the last tokens."""
    vocabulary = trained.manifest.encoding.symbols
    texts = ["the cat ran", "a hat and the dog"]
    ids = [vocabulary.encode(text).tolist() for text in texts]
    found = lenient.completions.create(
        model=model, prompt=ids, max_tokens=max_tokens, temperature=0, logprobs=1, echo=True
    )
    network = restore_network(load_checkpoint(trained.folder, trained.secret, weights_only=True))
    for text, symbols, choice in zip(texts, ids, found.choices, strict=True):
        assert choice.logprobs is not None
        scores = choice.logprobs.token_logprobs
        assert scores is not None
        assert choice.text[: len(text)] == text
        assert len(choice.text) == len(text) + max_tokens == len(scores)
        with torch.no_grad():
            logprobs = network(torch.tensor([symbols]))[0][0].log_softmax(1)
        expected = [float(logprobs[t, i]) for t, i in enumerate(symbols[1:])]
        assert scores[0] is None
        assert scores[1 : len(text)] == pytest.approx(expected, abs=1e-5)
        assert choice.logprobs.text_offset == list(range(len(scores)))
        top = choice.logprobs.top_logprobs
        assert top is not None
        assert top[0] is None
        assert [max(of, key=lambda name, of=of: of[name]) for of in top[1:]] == [
            vocabulary.name(int(logprobs[t].argmax())) for t in range(len(top) - 1)
        ]


def test_stop_ends_the_text_before_it(client: openai.OpenAI, model: str) -> None:
    free = text_of(client.completions.create(model=model, prompt=PROMPT, max_tokens=60, seed=4))
    stop = free[17:20]
    found = client.completions.create(model=model, prompt=PROMPT, max_tokens=60, seed=4, stop=[stop, "\x01"])
    assert (text_of(found), found.choices[0].finish_reason) == (free[: free.index(stop)], "stop")


def test_bias_and_penalties_reach_the_choice(client: openai.OpenAI, model: str, trained: Trained) -> None:
    of_a = trained.manifest.encoding.symbols.symbols.index("a")
    asked: dict[str, Any] = {"model": model, "prompt": PROMPT, "max_tokens": 20, "seed": 6}
    assert text_of(client.completions.create(logit_bias={str(of_a): 100}, **asked)) == "a" * 20
    assert "a" not in text_of(client.completions.create(logit_bias={str(of_a): -100}, **asked))
    varied = text_of(client.completions.create(logit_bias={str(of_a): 10}, frequency_penalty=2, **asked))
    assert 1 < varied.count("a") < 20


def test_stream_spells_the_same_texts_and_counts_at_its_end(lenient: openai.OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "prompt": [PROMPT, "a dog"], "max_tokens": 25, "seed": 8, "n": 2}
    whole = lenient.completions.create(**asked)
    texts, reasons, usage = dict.fromkeys(range(4), ""), {}, None
    for chunk in lenient.completions.create(stream=True, stream_options={"include_usage": True}, **asked):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            reasons[choice.index] = choice.finish_reason
        usage = chunk.usage or usage
    assert texts == {choice.index: choice.text for choice in whole.choices}
    assert set(reasons.values()) == {"length"}
    assert usage == whole.usage


def test_stream_with_logprobs_and_echo_says_what_the_whole_says(lenient: openai.OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "prompt": PROMPT, "max_tokens": 25, "seed": 8, "echo": True, "logprobs": 2}
    whole = lenient.completions.create(**asked).choices[0]
    assert whole.logprobs is not None
    text, tokens, logprobs, offsets = "", [], [], []
    for chunk in lenient.completions.create(stream=True, stop=["\x01\x02"], **asked):
        found = chunk.choices[0].logprobs
        assert found is not None
        text += chunk.choices[0].text
        tokens += found.tokens or []
        logprobs += found.token_logprobs or []
        offsets += found.text_offset or []
    assert (text, tokens, offsets) == (whole.text, whole.logprobs.tokens, whole.logprobs.text_offset)
    assert logprobs == whole.logprobs.token_logprobs


def state_of(found: Completion) -> str:
    state = found.choices[0].model_extra["state"]  # type: ignore[index]
    assert isinstance(state, str)
    return state


def test_conversation_goes_on_and_forks_from_its_state(client: openai.OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "max_tokens": 10}
    first = client.completions.create(prompt=PROMPT, seed=1, extra_body={"state": True}, **asked)
    said = PROMPT + text_of(first)
    for more, seed in (("", 2), (" and", 2), (" and", 3)):
        whole = client.completions.create(prompt=said + more, seed=seed, **asked)
        went_on = client.completions.create(prompt=more, seed=seed, extra_body={"state": state_of(first)}, **asked)
        assert text_of(went_on) == text_of(whole)
    third = client.completions.create(prompt="", seed=4, extra_body={"state": state_of(went_on)}, **asked)
    whole = client.completions.create(prompt=said + " and" + text_of(went_on), seed=4, **asked)
    assert text_of(third) == text_of(whole)


def test_stream_ends_with_the_state(lenient: openai.OpenAI, model: str) -> None:
    asked: dict[str, Any] = {
        "model": model,
        "prompt": PROMPT,
        "max_tokens": 10,
        "seed": 1,
        "extra_body": {"state": True},
    }
    *_, last = lenient.completions.create(stream=True, **asked)
    whole = lenient.completions.create(**asked)
    asked |= {"prompt": "", "seed": 2}
    texts = [
        text_of(lenient.completions.create(**asked | {"extra_body": {"state": state_of(found)}}))
        for found in (last, whole)
    ]
    assert texts[0] == texts[1]


def test_symbols_behind_a_state_are_all_scored(lenient: openai.OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "max_tokens": 0, "logprobs": 0, "echo": True}
    whole = lenient.completions.create(prompt="the cat sat", **asked).choices[0].logprobs
    first = lenient.completions.create(prompt="the c", extra_body={"state": True}, **asked)
    second = lenient.completions.create(prompt="at sat", extra_body={"state": state_of(first)}, **asked)
    rest = second.choices[0].logprobs
    assert whole is not None
    assert rest is not None
    assert rest.token_logprobs == (whole.token_logprobs or [])[5:]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"prompt": [[0, 99]]}, "prompt"),
        ({"prompt": "the Zoo"}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [["x"]]}, "prompt.0.0"),
        ({"logit_bias": {"99": 1}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias.-1.[key]"),
        ({"extra_body": {"state": "state-AAAA"}}, "state"),
        ({"extra_body": {"state": "x" * 2_000_001}}, "state"),
        ({"extra_body": {"state": 7}}, "state"),
        ({"stop": 7}, "stop"),
        ({"stop": ["a", ""]}, "stop.1"),
        ({"best_of": 1, "n": 2}, None),
        ({"prompt": ["a"] * 100, "n": 3}, None),
        ({"presence_penalty": 2.1}, "presence_penalty"),
        ({"logprobs": 21}, "logprobs"),
    ],
)
def test_what_cannot_be_is_refused_by_field(
    client: openai.OpenAI, model: str, asked: dict[str, Any], param: str | None
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.completions.create(**{"model": model, "prompt": PROMPT} | asked)
    assert refused.value.param == param


def test_state_of_other_parameters_is_refused(client: openai.OpenAI, api: Api, model: str, trained: Trained) -> None:
    found = client.completions.create(model=model, prompt=PROMPT, extra_body={"state": True})
    altered = state_of(found)[:-8] + "AAAAAAA="
    with pytest.raises(openai.UnprocessableEntityError, match="no state of this tenant and these parameters"):
        client.completions.create(model=model, prompt="", extra_body={"state": altered})


def test_mean_score_is_the_loss_of_the_text(lenient: openai.OpenAI, model: str, trained: Trained) -> None:
    text = "the dog sat on the hat. the cat ran at the mat. " * 20
    found = lenient.completions.create(model=model, prompt=text, max_tokens=0, echo=True, logprobs=0).choices[0]
    assert found.logprobs is not None
    scores = (found.logprobs.token_logprobs or [])[1:]
    ids = trained.manifest.encoding.symbols.encode(text)
    network = restore_network(load_checkpoint(trained.folder, trained.secret, weights_only=True))
    with torch.no_grad():
        logits = network(torch.from_numpy(ids[None, :-1]))[0][0]
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(ids[1:]))
    assert -np.mean(scores) / math.log(2) == pytest.approx(float(loss) / math.log(2), abs=1e-5)
