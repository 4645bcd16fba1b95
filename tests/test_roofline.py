"""The roofline: its arithmetic and each layer's load by hand, and measurements that scale as they must."""

from __future__ import annotations

import time
from collections.abc import Iterator

import keras
import numpy as np
import pytest
from keras import layers

from course_lib.analysis import roofline
from course_lib.analysis.roofline import (
    Load,
    Roofline,
    call_overhead,
    layer_loads,
    layer_seconds,
    measure_bandwidth,
    measure_rate,
    median_seconds,
)
from course_lib.analysis.sparse import SparseTimes, sparse_times


def dense(*units: int, inputs: int) -> keras.Sequential:
    chain = [layers.Dense(count, name=f"dense{number}") for number, count in enumerate(units, start=1)]
    return keras.Sequential([keras.Input((inputs,)), *chain])


def test_the_machine_of_the_paper() -> None:
    # Figure 1a, the Opteron X2: 17.6 billion operations and 15 billion bytes a second.
    opteron = Roofline(17.6e9, 15e9)
    assert opteron.ridge == pytest.approx(1.173, abs=1e-3)
    np.testing.assert_allclose(opteron.attainable([0.25, 1, 2, 16]), [3.75e9, 15e9, 17.6e9, 17.6e9])


@pytest.mark.parametrize(("load", "seconds"), [(Load("few", 100, 100), 10.0), (Load("many", 6000, 100), 60.0)])
def test_the_time_is_that_of_the_slower_part(load: Load, seconds: float) -> None:
    machine = Roofline(rate=100, bandwidth=10)
    assert machine.ridge == 10
    assert machine.seconds(load) == seconds
    assert machine.attainable(load.intensity) == pytest.approx(load.macs / seconds)


def test_loads_by_hand() -> None:
    images = keras.Input((8, 8, 3))
    maps = layers.Conv2D(16, 3, name="convolution")(images)  # 6 × 6 places
    normal = layers.BatchNormalization(name="normal")(maps)
    both = layers.Add(name="add")([maps, normal])
    scores = layers.Dense(10, name="dense")(layers.Flatten(name="flatten")(both))
    loads = layer_loads(keras.Model(images, scores), batch_size=5)
    place = 6 * 6 * 16
    assert loads == [
        Load("convolution", 5 * 36 * 27 * 16, 4 * (27 * 16 + 16 + 5 * (8 * 8 * 3 + place))),
        Load("normal", 0, 4 * (4 * 16 + 5 * 2 * place)),  # scale, offset, mean and variance
        Load("add", 0, 4 * 5 * 3 * place),
        Load("flatten", 0, 4 * 5 * 2 * place),
        Load("dense", 5 * place * 10, 4 * (place * 10 + 10 + 5 * (place + 10))),
    ]


def test_a_larger_batch_shares_the_weights() -> None:
    # A dense layer reads a weight of 4 bytes for a multiply–accumulate: 1/4 for one input, and n/4 for n, as long as
    # the weights are most of what moves.
    one, eight = (layer_loads(dense(4096, inputs=4096), size)[0].intensity for size in (1, 8))
    assert one == pytest.approx(0.25, rel=1e-3)
    assert eight == pytest.approx(2, rel=5e-3)


def test_layers_of_nested_models_have_loads_and_times() -> None:
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(6, name="inside")])
    model = keras.Sequential([keras.Input((4,)), inner, layers.Dense(2, name="outside")])
    assert [(load.name, load.macs) for load in layer_loads(model, 3)] == [("inside", 3 * 24), ("outside", 3 * 12)]
    assert list(layer_seconds(model, np.zeros((3, 4)), repeats=1)) == ["inside", "outside"]


def test_layers_that_cannot_be_told_apart_are_refused() -> None:
    shared, start = layers.Dense(4, name="shared"), keras.Input((4,))
    with pytest.raises(ValueError, match="'shared' at several places"):
        layer_loads(keras.Model(start, shared(shared(start))), 1)
    with pytest.raises(ValueError, match=r"'add.*' in .* is no layer"):
        layer_loads(keras.Model(start, shared(start) + start), 1)


def test_the_median_leaves_warm_up_and_outliers_out(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def clock() -> Iterator[int]:
        for took in (5_000, 1_000_000, 3_000):
            yield 100
            yield 100 + took

    ticks = clock()
    monkeypatch.setattr(time, "perf_counter_ns", lambda: next(ticks))
    assert median_seconds(lambda: calls.append(1), repeats=3, warm_up=4) == pytest.approx(5e-6)
    assert len(calls) == 7


def test_calls_go_on_for_as_long_as_asked() -> None:
    calls: list[int] = []
    median_seconds(lambda: (calls.append(1), time.sleep(0.01)), repeats=2, seconds=0.1, warm_up=0)
    assert 3 <= len(calls) <= 10


def test_a_wait_takes_as_long_as_it_takes() -> None:
    assert 0.02 <= median_seconds(lambda: time.sleep(0.02), repeats=3, warm_up=0) < 1


def test_the_machine_is_measured_in_the_right_units() -> None:
    # Any processor of the last fifteen years is between these: 0.2 and 20,000 billion multiply–accumulates a second
    # with all cores, 0.2 and 5,000 gigabytes.
    assert 2e8 < measure_rate(1, size=512, repeats=5) < 2e13
    assert 2e8 < measure_bandwidth(1, megabytes=64, repeats=5) < 5e12


def test_a_copy_counts_reads_and_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []
    monkeypatch.setattr(np, "copyto", lambda target, source: copied.append(source.nbytes))
    monkeypatch.setattr(roofline, "median_seconds", lambda function, repeats: function() and 0.5)
    assert measure_bandwidth(2, megabytes=3) == 2 * 3_000_000 / 0.5
    assert copied == [1_500_000, 1_500_000]


def test_each_layer_takes_the_time_of_its_work() -> None:
    # 4096² weights against 16²: a factor of 65,536 in work, of which far less than a hundredth is asked for here.
    model = dense(4096, 4096, 16, 16, inputs=16)
    seconds = layer_seconds(model, np.zeros((8, 16), "float32"), repeats=9)
    assert list(seconds) == ["dense1", "dense2", "dense3", "dense4"]
    assert seconds["dense2"] > 5 * seconds["dense4"] > 0
    assert 0 < call_overhead(repeats=20) < seconds["dense2"]


def test_layers_are_timed_on_the_values_of_the_model() -> None:
    met: dict[str, np.ndarray] = {}

    class Watch(layers.Layer):
        def call(self, inputs: object) -> object:
            import tensorflow as tf

            def keep(values: np.ndarray) -> np.ndarray:
                met[self.name] = values
                return values

            return tf.ensure_shape(tf.numpy_function(keep, [inputs], tf.float32, stateful=True), inputs.shape)

    images, numbers = keras.Input((4,)), keras.Input((2,))
    joined = layers.Concatenate(name="join")([layers.Dense(3, name="dense")(images), numbers])
    model = keras.Model([images, numbers], joined)
    given = np.random.default_rng(0).normal(size=(5, 4)), np.random.default_rng(1).normal(size=(5, 2))
    expected = keras.ops.convert_to_numpy(model([keras.ops.cast(part, "float32") for part in given]))
    watched = keras.Model([images, numbers], Watch(name="watch")(joined))
    assert set(layer_seconds(watched, *given, repeats=1)) == {"dense", "join", "watch"}
    np.testing.assert_allclose(met["watch"], expected, rtol=1e-5)


def test_the_crossing_is_where_both_take_equally_long() -> None:
    shares = np.array([0.0, 0.5, 0.9])
    # 5 times the dense time at 0 and no more than a tenth at 0.9, straight in between: equal at 0.5 + 0.4 · 1.5/2.4.
    assert SparseTimes(shares, 2.0, np.array([10.0, 5.0, 0.2])).crossing == pytest.approx(0.5 + 0.4 * 1.5 / 2.4)
    assert SparseTimes(shares, 2.0, np.array([1.0, 0.5, 0.2])).crossing == 0
    assert np.isnan(SparseTimes(shares, 2.0, np.array([10.0, 5.0, 2.1])).crossing)


def test_a_hundredth_of_the_weights_takes_less_time_than_all() -> None:
    times = sparse_times(1024, 1024, 4, [0.0, 0.5, 0.99], repeats=7)
    assert times.sparse.shape == (3,)
    assert times.dense > 0
    assert 0 < times.sparse[2] < times.sparse[0] / 4


def test_zeros_are_as_many_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.sparse import csr_array

    from course_lib.analysis import sparse

    left = []
    monkeypatch.setattr(sparse, "csr_array", lambda matrix: left.append(np.count_nonzero(matrix)) or csr_array(matrix))
    sparse_times(20, 10, 3, [0, 0.25, 0.98], repeats=1)
    assert left == [200, 150, 4]


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"repeats=0.*at least 1"):
        median_seconds(int, repeats=0)
    with pytest.raises(ValueError, match=r"batch_size=0.*at least 1"):
        layer_loads(dense(2, inputs=2), 0)
    for measure in (measure_rate, measure_bandwidth):
        with pytest.raises(ValueError, match=r"threads=0.*at least 1"):
            measure(0)
    for wrong in ([], [0.5, 0.5], [-0.1], [0.9, 1.0], [float("nan")]):
        with pytest.raises(ValueError, match=r"must ascend, from 0 or more to below 1"):
            sparse_times(4, 4, 1, wrong)
    with pytest.raises(ValueError, match=r"has 2 inputs; .* takes 1"):
        layer_seconds(dense(2, inputs=2), np.zeros((1, 2)), np.zeros((1, 2)))
