"""What a loss in nats says in other units. Here only."""

import math

NATS_PER_BIT = math.log(2)


def bits_per_character(loss: float) -> float:
    """`loss` (nats per symbol) in bits per symbol."""
    return loss / NATS_PER_BIT


def perplexity(loss: float) -> float:
    """exp(`loss`), infinite where that overflows a float."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
