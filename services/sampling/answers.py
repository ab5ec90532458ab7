"""A request for a prediction or a look inside, and a loaded model -> the answer. Knows no HTTP."""

from rnncore import probes
from rnncore.inspection import Inspection
from rnncore.predict import Options, Prediction, encoded_input, predict
from rnncore.sampling import SamplingParameters
from services.sampling.model_cache import LoadedModel
from services.wire import InspectRequest, PredictCommand, PredictionAnswer, Predictions, WrittenSequence


def predictions(command: PredictCommand, model: LoadedModel) -> Predictions:
    """The answer to each input. Raises InvalidInput or UnknownSymbol naming the input at fault."""
    request = command.request
    sampling = SamplingParameters(
        temperature=request.temperature,
        top_k=request.top_k,
        top_p=request.top_p,
        max_tokens=request.max_tokens,
        seed=request.seed,
    )
    options = Options(sampling, request.beam_width)
    found = predict(model.network, model.stepper, model.manifest, list(request.inputs), options)
    data = [_prediction(index, one) for index, one in enumerate(found)]
    return Predictions(model=request.model, task=model.manifest.task, data=data, system_fingerprint=command.fingerprint)


def inspection(request: InspectRequest, model: LoadedModel) -> Inspection:
    """The input seen from inside. Raises InvalidInput or UnknownSymbol naming the field at fault."""
    manifest = model.manifest
    options = probes.Options(
        top=request.top,
        num_units=request.num_units,
        units=tuple((one.layer, one.unit) for one in request.units),
        lags=request.lags,
        window=request.window,
    )
    inputs = encoded_input(manifest, request.input, "input")
    return probes.inspect(model.network, manifest.task, manifest.encoding, inputs, options)


def _prediction(index: int, found: Prediction) -> PredictionAnswer:
    sequences = None
    if found.sequences is not None:
        sequences = [
            WrittenSequence(symbols=one.symbols, text="".join(one.symbols), score=one.score) for one in found.sequences
        ]
    return PredictionAnswer(
        index=index,
        label=found.label,
        probabilities=found.probabilities,
        tags=found.tags,
        values=found.values,
        sequences=sequences,
    )
