"""`sample`, `predict`, `inspect`: what a model answers. Knows no sampling rule.

But for the length the server's defaults hold: OpenAI's 16 symbols are no text to read.
"""

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

import unroll
from unroll.commands.arguments import AsJson, ModelName
from unroll.help_text import MODELS, add_command
from unroll.terminal import dump, is_interactive, note, number, one_line, print_json, print_table, visible

if TYPE_CHECKING:
    from unroll.types import Completion, Prediction


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "sample",
        sample,
        panel=MODELS,
        examples=(
            'unroll sample job-7c1e... --prompt "Once upon" --temperature 0.7',
            "unroll sample job-7c1e...:step-800 --max-tokens 80 --seed 1 -n 3",
        ),
    )
    add_command(
        app,
        "predict",
        predict,
        panel=MODELS,
        examples=("unroll predict origin Kowalski Bjarnason", "unroll predict weather '[[0.5, 0], [0.25, 1]]' --json"),
    )
    add_command(app, "inspect", inspect, panel=MODELS, examples=('unroll inspect job-7c1e... "the cat sat" --lags 40',))


def sample(
    model: ModelName,
    prompt: Annotated[str, typer.Option(help="Text to go on from.")] = "",
    max_tokens: Annotated[int, typer.Option(help="Symbols to write at most.")] = 400,
    temperature: Annotated[float | None, typer.Option(help="0 always takes the likeliest symbol.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Choose among the so many likeliest.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Choose among the likeliest that share this probability.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; repeatable.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed writes the same text.")] = None,
    num_texts: Annotated[int | None, typer.Option("-n", min=1, help="Write so many texts.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let a model write, on from a prompt.

    Its text goes to stdout as it comes, without the prompt.
    """
    asked: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "stop": stop or None,
        "seed": seed,
        "n": num_texts,
    }
    options = {name: value for name, value in asked.items() if value is not None}
    with unroll.Client() as client:
        if as_json:
            print_json(dump(client.completions.create(model=model, prompt=prompt, **options)))
        elif num_texts is None or num_texts == 1:
            _stream(client, model, prompt, options)
        else:
            _print_texts(client.completions.create(model=model, prompt=prompt, **options))


def predict(
    model: ModelName,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Text, or a JSON list of numbers, lists, strings.", show_default=False),
    ],
    beam_width: Annotated[int | None, typer.Option(help="Of a translation: how many to keep in view.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of a generated sequence.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of a generated sequence: the same seed writes the same.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let a model classify, tag, forecast, translate, ...

    One answer for each input, by what the model was trained for: a label, tags, numbers, or a sequence.
    """
    asked: dict[str, Any] = {"beam_width": beam_width, "temperature": temperature, "seed": seed}
    options = {name: value for name, value in asked.items() if value is not None}
    with unroll.Client() as client:
        found = client.models.predict(model, [_input(given) for given in inputs], **options)
    if as_json:
        print_json(dump(found))
        return
    for prediction in found.data:
        typer.echo(one_line(_answer(prediction)))


def inspect(
    model: ModelName,
    given: Annotated[
        str, typer.Argument(metavar="INPUT", help="A text, or a JSON list of numbers or strings.", show_default=False)
    ],
    lags: Annotated[int | None, typer.Option(help="Steps back to which the gradient is followed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look inside a model while it reads.

    Shows the surprisal of each symbol (nats), and how the gradient falls with the lag; --json has gates, memory and
    single units too.
    """
    options: dict[str, Any] = {} if lags is None else {"lags": lags}
    with unroll.Client() as client:
        found = client.models.inspect(model, _input(given), **options)
    if as_json:
        print_json(dump(found))
        return
    if any(symbol["surprisal"] is not None for symbol in found.symbols):
        print_table(
            ("SYMBOL", "SURPRISAL", "LIKELIEST"),
            (
                (repr(symbol["symbol"]), number(symbol["surprisal"]), _alternatives(symbol["top"]))
                for symbol in found.symbols
            ),
        )
        typer.echo()
    for layer, gradient in enumerate((found.gradient or {"layers": []})["layers"]):
        norms = gradient["cell"] or gradient["hidden"]
        kind = "cell" if gradient["cell"] else "hidden state"
        note(f"gradient of the {(found.gradient or {})['answer']} by the {kind} of layer {layer}, by lag")
        lags_shown = [lag for lag in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if lag < len(norms)]
        print_table(("LAG", "NORM", ""), ((lag, f"{norms[lag]:.3g}", _bar(norms[lag], norms)) for lag in lags_shown))


def _alternatives(top: list[dict[str, Any]]) -> str:
    return "  ".join(f"{one['symbol']!r} {one['probability']:.2f}" for one in top)


def _bar(norm: float, norms: list[float]) -> str:
    """Twelve decades below the largest norm, two characters each."""
    largest = max(norms)
    if norm <= 0 or largest <= 0:
        return ""
    return "#" * max(0, round(2 * (12 + math.log10(norm / largest))))


def _input(given: str) -> Any:
    """A JSON list where it is one; everything else is text as it stands."""
    if given.startswith("["):
        try:
            return json.loads(given)
        except ValueError:
            return given
    return given


def _answer(found: "Prediction") -> str:
    if found.label is not None:
        return f"{found.label}  {(found.probabilities or {}).get(found.label, 0):.3f}"
    if found.tags is not None:
        return " ".join(found.tags)
    if found.values is not None:
        return " ".join(f"{value:.6g}" for value in found.values)
    return "  ".join(str(sequence["text"]) for sequence in found.sequences or [])


def _stream(client: "unroll.Client", model: str, prompt: str, options: dict[str, Any]) -> None:
    last = ""
    try:
        for chunk in client.completions.stream(model=model, prompt=prompt, **options):
            for choice in chunk.choices:
                typer.echo(_shown(choice.text), nl=False)  # echo flushes: each piece is seen at once
                last = choice.text or last
    finally:
        if is_interactive() and last and not last.endswith("\n"):
            typer.echo()


def _print_texts(completion: "Completion") -> None:
    for choice in sorted(completion.choices, key=lambda choice: choice.index):
        note(f"--- text {choice.index + 1} of {len(completion.choices)}")
        typer.echo(_shown(choice.text))


def _shown(text: str) -> str:
    # A file or a pipe gets exactly what was written; a terminal would obey control characters in it.
    return visible(text) if is_interactive() else text
