"""From a prompt to a text, on its own: what the samples of a checkpoint are. The service writes many texts at once."""

from collections.abc import Sequence

import numpy as np

from rnncore.sampling import Choices, SamplingParameters
from rnncore.stepper import Stepper
from rnncore.vocabulary import Vocabulary
from rnncore.writing import Writer, beginning


def continuation(
    stepper: Stepper, vocabulary: Vocabulary, prompt: Sequence[int], parameters: SamplingParameters
) -> str:
    """What follows `prompt` (ids), up to a stop string, which is not part of it, or `max_tokens`.

    An empty prompt starts as a text does. For a seed it is the very text that the service answers.
    """
    if not parameters.max_tokens:
        return ""
    banned = () if vocabulary.unknown_id is None else (vocabulary.unknown_id,)
    start = np.array(list(prompt) or [beginning(vocabulary)])
    logits_BV, states_BS, _ = stepper.read([start], stepper.zero_state(1))
    batch, choices = stepper.batch(1), Choices(1, vocabulary.size, banned=banned)
    batch.join(states_BS[0])
    choices.join(parameters)
    writer, text = Writer(vocabulary, parameters.stop), ""
    for remaining in range(parameters.max_tokens, 0, -1):
        chosen_B = choices.choose(logits_BV)
        text += writer.add(chosen_B.tolist())
        if writer.has_stopped:
            break
        if remaining > 1:
            logits_BV = batch.step(chosen_B)
    return text + writer.end()
