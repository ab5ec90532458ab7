"""Inputs of one request share the engine: what each one gets is what it gets alone, and what plain torch.nn gives.

Sizes: 3 labels, 7 target symbols, 11 source symbols, H 13 and 2 layers.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from rnncore.encoding import Encoding
from rnncore.errors import InvalidInput, UnknownSymbol
from rnncore.manifest import Manifest, Progress
from rnncore.predict import Options, Prediction, predict
from rnncore.sampling import Choices, SamplingParameters
from rnncore.sequence_network import EncoderDecoder, SequenceNetwork
from rnncore.spec import ModelSpec, Task
from rnncore.state import State, select_rows
from rnncore.stepper import Stepper
from rnncore.tasks.table import make_network, make_stepper
from rnncore.tokens import Tokens

LABELS = Tokens(tokens=("p", "q", "r"))
TARGETS = Tokens(tokens=tuple("abcdefg"))
SOURCES = Tokens(tokens=tuple("hijklmnopqr"))
ENCODINGS: dict[Task, Encoding] = {
    "generate": Encoding(inputs=LABELS, outputs=TARGETS),
    "translate": Encoding(inputs=SOURCES, outputs=TARGETS),
}
CELLS: list[dict[str, Any]] = [
    {"cell": "rnn"},
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "gru", "reset_after": False},
]
WORDS = ["hij", "k", "rqponm", "lmnopqrhij", "hhh", "jk", "qqrqq"]


def network_of(task: Task, **fields: Any) -> Any:
    """One with large weights, whose distributions are far from even."""
    model = {"hidden_size": 13, "embedding_size": 5, "num_layers": 2, "dropout": 0.3} | fields
    torch.manual_seed(2)
    network = make_network(task, ModelSpec.model_validate(model), ENCODINGS[task]).eval()
    with torch.no_grad():  # biases too, which start at zero
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.4)
    return network


def answers(
    task: Task, network: Any, inputs: Sequence[Any], stepper: Stepper | None = None, **options: Any
) -> list[Prediction]:
    manifest = Manifest(
        job="job-1",
        epoch=1,
        task=task,
        model=network.model,
        encoding=ENCODINGS[task],
        precision="fp32",
        progress=Progress(step=800),
        parameters_sha256="f" * 64,
        files={},
    )
    return predict(network, stepper or make_stepper(task, network), manifest, list(inputs), Options(**options))


# generate


@torch.no_grad()
def written_alone(network: SequenceNetwork, label: str, parameters: SamplingParameters) -> list[str]:
    """Through torch.nn, symbol by symbol."""
    chosen = 7 + LABELS.tokens.index(label)
    choices = Choices(1, 8)
    choices.join(parameters)
    state: State = None
    written: list[int] = []
    while len(written) < parameters.max_tokens:
        scores_BTK, state = network.each(torch.tensor([[chosen]]), torch.ones(1, dtype=torch.int64), state)
        chosen = int(choices.choose(scores_BTK[:, 0]))
        if chosen == 7:
            break
        written.append(chosen)
    return TARGETS.decode(written)


@pytest.mark.parametrize("fields", CELLS, ids=str)
def test_label_is_written_as_the_network_alone_writes_it(fields: dict[str, Any]) -> None:
    network = network_of("generate", **fields)
    lengths = set()
    for seed in range(10):
        sampling = SamplingParameters(temperature=0.9, top_p=0.95, seed=seed, max_tokens=23)
        expected = [written_alone(network, label, sampling) for label in "qrp"]
        found = answers("generate", network, "qrp", sampling=sampling)
        assert [one.sequences[0].symbols for one in found if one.sequences] == expected
        lengths |= {len(symbols) for symbols in expected}
    assert min(lengths) < 5  # some end early, while others go on
    assert max(lengths) > 9


def test_text_of_a_seed_does_not_depend_on_the_other_inputs() -> None:
    network = network_of("generate", hidden_size=40)
    sampling = SamplingParameters(seed=5, max_tokens=300)
    alone = {label: answers("generate", network, [label], sampling=sampling)[0] for label in "pqr"}
    for inputs in ("rq", "pqrpqrr", "q" * 70 + "p" * 30 + "r"):
        assert answers("generate", network, inputs, sampling=sampling) == [alone[label] for label in inputs]


def test_without_a_seed_equal_inputs_get_texts_of_their_own() -> None:
    found = answers("generate", network_of("generate"), "pppp", sampling=SamplingParameters(max_tokens=40))
    assert len({str(one) for one in found}) > 1


# translate


@torch.no_grad()
def searched_alone(network: EncoderDecoder, word: str, width: int) -> list[tuple[str, float]]:
    """Beam search of one source through torch.nn: texts and mean log-probabilities, the best first."""
    ids_BS = torch.from_numpy(SOURCES.encode(word, param="input"))[None]
    state = network.encode(ids_BS, torch.tensor([len(word)]))
    hypotheses: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[tuple[float, list[int]]] = []
    for _ in range(3 * len(word) + 10):
        last_W = torch.tensor([ids[-1] if ids else 7 for _, ids in hypotheses])
        scores_WTK, state = network.decode(last_W[:, None], state)
        totals_WK = scores_WTK[:, 0].log_softmax(dim=1) + torch.tensor([[total] for total, _ in hypotheses])
        best = totals_WK.flatten().topk(min(width, totals_WK.numel()))
        places = [divmod(flat, 8) for flat in best.indices.tolist()]
        grown = [
            (total, parent, [*hypotheses[parent][1], symbol])
            for total, (parent, symbol) in zip(best.values.tolist(), places, strict=True)
        ]
        ended += [(total / len(ids), ids[:-1]) for total, _, ids in grown if ids[-1] == 7]
        going_on = [one for one in grown if one[2][-1] != 7]
        if not going_on or len(ended) >= width:
            break
        hypotheses = [(total, ids) for total, _, ids in going_on]
        state = select_rows(state, torch.tensor([parent for _, parent, _ in going_on]))
    found = ended or [(total / (len(ids) + 1), ids) for total, ids in hypotheses]
    best_first = sorted(found, key=lambda one: -one[0])[:width]
    return [("".join(TARGETS.decode(ids)), score) for score, ids in best_first]


def texts(prediction: Prediction) -> list[tuple[str, Any]]:
    assert prediction.sequences is not None
    return [("".join(one.symbols), one.score) for one in prediction.sequences]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("width", [1, 3, 16])
@pytest.mark.parametrize("fields", CELLS, ids=str)
def test_beam_search_finds_what_the_network_alone_finds(
    fields: dict[str, Any], width: int, bidirectional: bool
) -> None:
    network = network_of("translate", bidirectional=bidirectional, **fields)
    found = answers("translate", network, WORDS, beam_width=width)
    for word, one in zip(WORDS, found, strict=True):
        expected = searched_alone(network, word, width)
        assert [text for text, _ in texts(one)] == [text for text, _ in expected]
        assert [score for _, score in texts(one)] == pytest.approx([score for _, score in expected], abs=1e-5)


def test_translation_that_never_ends_is_cut_off_by_the_length_of_its_own_source() -> None:
    network = network_of("translate")
    with torch.no_grad():
        network.output.bias[7] = -1e4
    found = answers("translate", network, ["hij", "k", "qqrqq"], beam_width=2)
    assert [[len(text) for text, _ in texts(one)] for one in found] == [[19, 19], [13, 13], [25, 25]]


def test_translation_does_not_depend_on_the_other_inputs() -> None:
    """To the last bit, also where they are more than are searched at once."""
    network = network_of("translate", bidirectional=True)
    alone = {word: answers("translate", network, [word], beam_width=5)[0] for word in WORDS}
    inputs = [WORDS[n % 7] for n in range(60)]
    assert answers("translate", network, inputs, beam_width=5) == [alone[word] for word in inputs]


# Both


@pytest.mark.parametrize("task", ENCODINGS)
def test_threads_may_share_a_stepper(task: Task) -> None:
    """The service answers predictions of one model on several threads."""
    network, inputs = network_of(task), {"generate": list("pqr" * 5), "translate": WORDS}[task]
    options: dict[str, Any] = {"sampling": SamplingParameters(seed=3, max_tokens=200), "beam_width": 4}
    expected, stepper = answers(task, network, inputs, **options), Stepper(network)
    with ThreadPoolExecutor(5) as threads:
        found = [threads.submit(answers, task, network, inputs, stepper, **options) for _ in range(20)]
    assert [one.result() for one in found] == [expected] * 20


@pytest.mark.parametrize(
    ("task", "inputs", "told"),
    [
        ("generate", ["p", "x"], "'x' at place 0 is not among the 3 of the training part"),
        ("translate", ["hij", "hxi"], "'x' at place 1 is not among the 11 of the training part"),
    ],
)
def test_unknown_symbol_names_its_input(task: Task, inputs: list[str], told: str) -> None:
    with pytest.raises(UnknownSymbol, match=told) as raised:
        answers(task, network_of(task), inputs)
    assert raised.value.param == "inputs[1]"


def test_label_that_is_no_string_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"must be a label \(a string\), is 3") as raised:
        answers("generate", network_of("generate"), ["p", 3])
    assert raised.value.param == "inputs[1]"
