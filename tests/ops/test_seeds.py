import random

import keras
import numpy as np
import pytest

from keras_simclr.ops.seeds import (
    derive_seed,
    draw_seed,
    python_random,
    random_states,
    set_random_states,
)


def test_the_same_words_derive_the_same_seed():
    assert derive_seed(1, 2, 3) == derive_seed(1, 2, 3)


@pytest.mark.parametrize(("words", "seed"), [((0,), 1484405855), ((7, 1), 184785996)])
def test_derived_seeds_are_the_same_on_every_machine(words, seed):
    assert derive_seed(*words) == seed


@pytest.mark.parametrize("words", [(1, 2), (2, 1), (1, 2, 0, 1), (1, 3)])
def test_different_words_derive_different_seeds(words):
    assert derive_seed(*words) != derive_seed(1, 2, 3)


def test_derived_seeds_have_31_bits():
    seeds = [derive_seed(word) for word in range(200)]
    assert 2**30 < max(seeds) < 2**31 and min(seeds) >= 0
    assert len(set(seeds)) == 200


def test_set_random_seed_repeats_a_drawn_seed():
    drawn = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        drawn.append(draw_seed())
    assert drawn[0] == drawn[1]


def test_drawn_seeds_are_integers_that_differ():
    one, other = draw_seed(), draw_seed()
    assert isinstance(one, int) and one != other


def test_initializers_follow_the_seed_of_python_random():
    values = []
    for _ in range(2):
        with python_random(3):
            values.append(keras.initializers.RandomNormal().seed)
    assert values[0] == values[1]


def test_the_state_of_python_random_is_restored():
    random.seed(1)
    expected = [random.random() for _ in range(2)]
    random.seed(1)
    found = [random.random()]
    with pytest.raises(KeyError), python_random(3):
        random.random()
        raise KeyError
    assert [*found, random.random()] == expected


def test_the_states_of_the_global_generators_are_restored():
    states = random_states()
    drawn = random.gauss(0, 1), np.random.normal(), np.random.random()
    other = random.gauss(0, 1), np.random.normal(), np.random.random()
    set_random_states(states)
    assert (random.gauss(0, 1), np.random.normal(), np.random.random()) == drawn
    assert (random.gauss(0, 1), np.random.normal(), np.random.random()) == other
