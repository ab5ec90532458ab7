"""Nats in other units."""

import math

import pytest

from rnncore.metrics import bits_per_character, perplexity


def test_one_bit_is_ln_2_nats() -> None:
    assert bits_per_character(3 * math.log(2)) == pytest.approx(3.0, rel=1e-15)


def test_perplexity_of_an_even_guess_is_the_number_of_choices() -> None:
    assert perplexity(math.log(11)) == pytest.approx(11.0, rel=1e-15)


def test_perplexity_beyond_floats_is_infinite() -> None:
    assert perplexity(710.0) == math.inf
