"""`regress` and `forecast`: numbers out of a sequence of numbers (many-to-one).

Numbers are normalised with the training part's own mean and deviation. Shapes: B batch, T time, C channels, K targets.
"""

import math

import numpy as np
from torch.nn.functional import mse_loss

from rnncore.batches import Batch
from rnncore.encoding import Encoding
from rnncore.sequence_network import SequenceNetwork
from rnncore.spec import JobSpec, ModelSpec
from rnncore.state import State
from rnncore.tasks import Evaluation, Sample, StepLoss
from rnncore.tasks.examples import ExampleData, ExampleTask


class Regress(ExampleTask):
    """A Task; see there. Independent sequences, K numbers each."""

    def __init__(self, spec: JobSpec, data: ExampleData) -> None:
        super().__init__(data, spec)

    def loss(self, network: SequenceNetwork, batch: Batch, state: State) -> StepLoss:
        """Mean squared error of normalised targets."""
        del state
        predicted_BK = network.last(batch.inputs, batch.lengths_B, tbptt_steps=self.train.tbptt_steps)
        loss = mse_loss(predicted_BK.float(), batch.targets)
        return StepLoss(loss, batch.part, self.share(batch), batch.num_targets, batch.num_symbols, None)

    def evaluate(self, network: SequenceNetwork) -> Evaluation:
        """The mean squared error, normalised, and its root in the target's own units."""
        squares_K = np.zeros(len(self._deviation))
        for batch in self.validation_batches(network):
            predicted_BK = network.last(batch.inputs, batch.lengths_B).float()
            squares_K += (predicted_BK - batch.targets).square().sum(dim=0).double().cpu().numpy()
        mean_K = squares_K / len(self.validation)
        rmse = math.sqrt(float((mean_K * self._deviation**2).mean()))
        return Evaluation(float(mean_K.mean()), {"rmse": rmse})

    def samples(self, network: SequenceNetwork, seed: int) -> list[Sample]:
        del network, seed
        return []

    @property
    def _deviation(self) -> np.ndarray:
        return np.array(self.encoding.numbers_written.deviation)


class Forecast(Regress):
    """A Task; see there. Windows of `tbptt_steps` rows of one series, each followed by the value to forecast."""

    def evaluate(self, network: SequenceNetwork) -> Evaluation:
        """As of regress, beside the error of persistence: forecasting that nothing changes."""
        evaluation = super().evaluate(network)
        assert self.encoding.target is not None
        column = self.encoding.columns.index(self.encoding.target)
        squares = 0.0
        for batch in self.validation_batches(network):
            squares += (batch.inputs[:, -1, column] - batch.targets[:, 0]).square().sum().item()
        persistence = math.sqrt(squares / len(self.validation)) * float(self._deviation[0])
        return Evaluation(evaluation.loss, evaluation.metrics | {"persistence_rmse": persistence})


def regress_network(model: ModelSpec, encoding: Encoding) -> SequenceNetwork:
    """Reads numbers, answers numbers."""
    return SequenceNetwork(model, num_outputs=len(encoding.numbers_written.mean), num_channels=encoding.num_channels)
