"""A trained network as an ONNX graph: state in, state out, in the units and ids of its encoding.

Built node by node from the parameters, so that nothing is traced and nothing unsaid: ONNX's RNN, LSTM and GRU are the
cells of `rnncore.cells` with their gates in another order. Shapes: B batch, T time, S source time, L layers.

Inputs of the graph, as the task has them:
  ids         B x T int64     symbols read (translate: `source_ids` B x S and `target_ids` B x T, which begin with the
                              id that ends a target)
  numbers     B x T x C       numbers read, in their own units
  lengths     B int32         of each row (translate: of each source); steps behind it are not read
  h, c        L x B x H       state before the first step, zero at the start; c of an LSTM. Not of bidirectional ones.
Outputs: `logits` of every step or of the last (classify), or `values` (regress, forecast) in their own units, and the
state behind the end of each row, `h_out` and `c_out`. A language model that begins documents with a boundary symbol
forgets the one before: feed the zero state there. The encoding is JSON in the metadata field `encoding`.
"""

from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rnncore.encoding import Encoding, Scale
from rnncore.manifest import Manifest
from rnncore.network import RecurrentNetwork
from rnncore.recurrence import GruBeforeLayers, Layers
from rnncore.sequence_network import EncoderDecoder, SequenceNetwork

OPSET = 17
_IR_VERSION = 9
_OPERATORS = {"RNN_TANH": "RNN", "LSTM": "LSTM", "GRU": "GRU"}
# Where ONNX's gates stand among ours: i o f c of i f g o, and z r h of r z n.
_GATE_ORDER = {"RNN": (0,), "LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}


def to_onnx(network: RecurrentNetwork | SequenceNetwork | EncoderDecoder, manifest: Manifest) -> bytes:
    """The serialised model of a network in evaluation mode; the module's docstring says what goes in and out."""
    graph = _Graph()
    if isinstance(network, EncoderDecoder):
        _encoder_decoder(graph, network)
    else:
        _one_pass(graph, network, manifest)
    described = {
        "job": manifest.job,
        "step": str(manifest.progress.step),
        "task": manifest.task,
        "parameters_sha256": manifest.parameters_sha256,
        "encoding": manifest.encoding.model_dump_json(exclude_defaults=True),
    }
    return graph.serialised(described)


def _one_pass(graph: "_Graph", network: RecurrentNetwork | SequenceNetwork, manifest: Manifest) -> None:
    encoding, is_last = manifest.encoding, manifest.task in ("classify", "regress", "forecast")
    x_TBI = _read(graph, network, encoding)
    is_language_model = isinstance(network, RecurrentNetwork)
    lengths = "" if is_language_model else graph.input("lengths", TensorProto.INT32, ["batch"])
    state_in = None if network.model.bidirectional else _state_inputs(graph, network.recurrent)
    hidden_TBD, state, ends_BD = _layers(graph, network.recurrent, "recurrent", x_TBI, lengths, state_in)
    read = ends_BD if is_last else graph.node("Transpose", [hidden_TBD], perm=[1, 0, 2])
    if manifest.task in ("regress", "forecast"):
        normal = _linear(graph, network.output, "output", read)
        graph.output(_restored(graph, encoding.numbers_written, normal), "values", ["batch", "numbers"])
    else:
        logits = _linear(graph, network.output, "output", read)
        graph.output(logits, "logits", ["batch", "outputs"] if is_last else ["batch", "time", "outputs"])
    if state_in is not None:
        for name, value in zip(("h_out", "c_out"), state, strict=False):
            graph.output(value, name, ["layers", "batch", "hidden"])


def _encoder_decoder(graph: "_Graph", network: EncoderDecoder) -> None:
    source = graph.input("source_ids", TensorProto.INT64, ["batch", "source"])
    lengths = graph.input("lengths", TensorProto.INT32, ["batch"])
    target = graph.input("target_ids", TensorProto.INT64, ["batch", "time"])
    x_SBE = _embedded(graph, network.source_embedding, "source_embedding", source)
    _, state, _ = _layers(graph, network.encoder, "encoder", x_SBE, lengths, None)
    if network.bridge is not None:
        state = [_bridged(graph, network, part) for part in state]
    y_TBE = _embedded(graph, network.target_embedding, "target_embedding", target)
    hidden_TBH, _, _ = _layers(graph, network.decoder, "decoder", y_TBE, "", state)
    logits = _linear(graph, network.output, "output", graph.node("Transpose", [hidden_TBH], perm=[1, 0, 2]))
    graph.output(logits, "logits", ["batch", "time", "outputs"])


def _read(graph: "_Graph", network: RecurrentNetwork | SequenceNetwork, encoding: Encoding) -> str:
    if network.embedding is not None:
        ids = graph.input("ids", TensorProto.INT64, ["batch", "time"])
        return _embedded(graph, network.embedding, "embedding", ids)
    numbers = graph.input("numbers", TensorProto.FLOAT, ["batch", "time", encoding.num_channels])
    scale = encoding.numbers_read
    centred = graph.node("Sub", [numbers, graph.constant(_floats(scale.mean))])
    normal = graph.node("Div", [centred, graph.constant(_floats(scale.deviation))])
    return graph.node("Transpose", [normal], perm=[1, 0, 2])


def _restored(graph: "_Graph", scale: Scale, normal: str) -> str:
    scaled = graph.node("Mul", [normal, graph.constant(_floats(scale.deviation))])
    return graph.node("Add", [scaled, graph.constant(_floats(scale.mean))])


def _embedded(graph: "_Graph", embedding: Any, name: str, ids_BT: str) -> str:
    weight = graph.constant(embedding.weight.detach().float().numpy(), f"{name}.weight")
    return graph.node("Transpose", [graph.node("Gather", [weight, ids_BT])], perm=[1, 0, 2])


def _linear(graph: "_Graph", linear: Any, name: str, read: str) -> str:
    weight = graph.constant(linear.weight.detach().float().numpy().T, f"{name}.weight")
    bias = graph.constant(linear.bias.detach().float().numpy(), f"{name}.bias")
    return graph.node("Add", [graph.node("MatMul", [read, weight]), bias])


def _state_inputs(graph: "_Graph", layers: Layers) -> list[str]:
    names = ("h", "c") if layers.mode == "LSTM" else ("h",)
    return [graph.input(name, TensorProto.FLOAT, [layers.num_layers, "batch", layers.hidden_size]) for name in names]


class _Read(NamedTuple):
    hidden_TBD: str
    state: list[str]
    ends_BD: str


def _layers(graph: "_Graph", layers: Layers, name: str, x_TBI: str, lengths: str, state_in: list[str] | None) -> _Read:
    """All steps' hidden, the state h or h and c, and the last layer's hidden behind each row's end."""
    operator, directions = _OPERATORS[layers.mode], 2 if layers.bidirectional else 1
    attributes: dict[str, Any] = {"hidden_size": layers.hidden_size}
    if operator == "GRU":
        attributes["linear_before_reset"] = int(not isinstance(layers, GruBeforeLayers))
    attributes["direction"] = "bidirectional" if layers.bidirectional else "forward"
    finals: list[list[str]] = []
    for layer in range(layers.num_layers):
        state = [_rows(graph, part, layer * directions, directions) for part in state_in or []]
        inputs = [x_TBI, *_weights(graph, layers, name, operator, layer), lengths, *state]
        outputs = graph.nodes(operator, inputs, 3 if operator == "LSTM" else 2, **attributes)
        finals.append(outputs[1:])
        # T x directions x B x H -> T x B x (directions*H)
        beside = graph.node("Transpose", [outputs[0]], perm=[0, 2, 1, 3])
        x_TBI = graph.node("Reshape", [beside, graph.constant(np.array([0, 0, -1]))])
    ends_BDH = graph.node("Transpose", [finals[-1][0]], perm=[1, 0, 2])
    ends_BD = graph.node("Reshape", [ends_BDH, graph.constant(np.array([0, -1]))])
    return _Read(x_TBI, [graph.node("Concat", list(parts), axis=0) for parts in zip(*finals, strict=True)], ends_BD)


def _weights(graph: "_Graph", layers: Layers, name: str, operator: str, layer: int) -> list[str]:
    """W, R and B of one layer, its directions stacked, its gates in ONNX's order."""
    suffixes = (f"l{layer}", f"l{layer}_reverse")[: 2 if layers.bidirectional else 1]

    def stacked(parameter: str) -> NDArray[np.float32]:
        whole = []
        for suffix in suffixes:
            gates = np.split(
                getattr(layers, f"{parameter}_{suffix}").detach().float().numpy(), len(_GATE_ORDER[operator])
            )
            whole.append(np.concatenate([gates[i] for i in _GATE_ORDER[operator]]))
        return np.stack(whole)

    biases = np.concatenate([stacked("bias_ih"), stacked("bias_hh")], axis=1)
    return [
        graph.constant(stacked("weight_ih"), f"{name}.weight_ih_l{layer}"),
        graph.constant(stacked("weight_hh"), f"{name}.weight_hh_l{layer}"),
        graph.constant(biases, f"{name}.bias_l{layer}"),
    ]


def _bridged(graph: "_Graph", network: EncoderDecoder, state: str) -> str:
    """Both directions' final states, joined, to the state of one direction, layer by layer."""
    layers = []
    for layer in range(network.model.num_layers):
        both_BDH = graph.node("Transpose", [_rows(graph, state, 2 * layer, 2)], perm=[1, 0, 2])
        both_BD = graph.node("Reshape", [both_BDH, graph.constant(np.array([0, -1]))])
        joined = graph.node("Tanh", [_linear(graph, network.bridge, "bridge", both_BD)])
        layers.append(graph.node("Unsqueeze", [joined, graph.constant(np.array([0]))]))
    return graph.node("Concat", layers, axis=0)


def _rows(graph: "_Graph", value: str, first: int, number: int) -> str:
    return graph.node("Slice", [value, *(graph.constant(np.array([at])) for at in (first, first + number, 0))])


def _floats(numbers: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(numbers, dtype=np.float32)


class _Graph:
    """Collects nodes and constants; every value gets a name of its own."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, kind: int, shape: list[str | int]) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, value: str, name: str, shape: list[str | int]) -> None:
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, array: NDArray[Any], name: str | None = None) -> str:
        name = name or self._new()
        if any(known.name == name for known in self._constants):  # one parameter, used in several places
            return name
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        return self.nodes(operator, inputs, 1, **attributes)[0]

    def nodes(self, operator: str, inputs: list[str], num_outputs: int, **attributes: Any) -> list[str]:
        outputs = [self._new() for _ in range(num_outputs)]
        self._nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs

    def serialised(self, described: dict[str, str]) -> bytes:
        graph = helper.make_graph(self._nodes, "unroll", self._inputs, self._outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="unroll")
        model.ir_version = _IR_VERSION
        helper.set_model_props(model, described)
        onnx.checker.check_model(model, full_check=True)
        serialised: bytes = model.SerializeToString()
        return serialised

    def _new(self) -> str:
        self._count += 1
        return f"v{self._count}"
