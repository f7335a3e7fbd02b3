import numpy as np

from kepler_train.simulate.randomness import keys_of, normal, smooth, stretches, uniform

KEYS = keys_of(3, "test")
INDEX = np.arange(500_000_000, 500_005_000)


def test_a_later_span_holds_the_same_values():
    for draw in (uniform, normal, lambda keys, index: smooth(keys, index, 37.0)):
        assert np.array_equal(draw(KEYS, INDEX)[1000:2000], draw(KEYS, INDEX[1000:2000]))
    for whole, part in zip(stretches(KEYS, INDEX, 50.0), stretches(KEYS, INDEX[1000:2000], 50.0), strict=True):
        assert np.array_equal(whole[1000:2000], part)


def test_uniform_fills_the_unit_interval():
    drawn = uniform(KEYS, INDEX)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert np.histogram(drawn, bins=10, range=(0, 1))[0].std() < 0.05 * drawn.size / 10


def test_normal_and_smooth_have_mean_zero_and_variance_one():
    for drawn in (normal(KEYS, INDEX), smooth(KEYS, INDEX, 3.0)):
        assert abs(drawn.mean()) < 0.05
        assert abs(drawn.std() - 1) < 0.05


def test_different_keys_are_independent():
    correlation = np.corrcoef(normal(KEYS, INDEX), rowvar=False)
    assert np.abs(correlation - np.eye(3)).max() < 0.05


def test_smooth_moves_little_between_neighbours():
    assert np.abs(np.diff(smooth(KEYS, INDEX, 50.0), axis=0)).max() < 0.5


def test_stretches_follow_each_other_and_vary_in_length():
    number, into = stretches(KEYS, INDEX, 50.0)
    steps = np.diff(number, axis=0)
    assert set(np.unique(steps)) == {0, 1}
    assert into.min() >= 0
    assert np.all((np.diff(into, axis=0) > 0) == (steps == 0))
    _, lengths = np.unique(number[:, 0], return_counts=True)
    assert lengths[1:-1].min() >= 0.4 * 50 - 1
    assert lengths[1:-1].max() <= 1.6 * 50 + 1
    assert lengths[1:-1].std() > 5
