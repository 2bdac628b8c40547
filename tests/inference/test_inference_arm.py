"""The life of an arm: refused or ready, started again, and gone with its parent."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from streamsplit.core.records import Datatype, Signature, TensorSpec
from streamsplit.core.rollout import Limits
from streamsplit.inference.arm import Arm, ArmOptions, ArmPhase, ArmStatus
from streamsplit.inference.dispatch import Dispatcher
from streamsplit.inference.job import Job

X, Y = ("x", TensorProto.FLOAT, ["N", 3]), ("y", TensorProto.FLOAT, ["N", 3])
GOLDEN = ({"x": [1.0, 1.0, 1.0]}, {"y": [2.0, 2.0, 2.0]})


def end_of(models: Any, label: str = "model@1", **settings: Any) -> ArmStatus:
    """How an arm that cannot serve ends."""
    repository = models.repository
    arm = Arm("canary", (repository.pin(label),), repository, **settings)
    arm.start()
    try:
        return models.reached(arm, lambda status: status.ready or status.final)
    finally:
        arm.stop()


def model_of(node: onnx.NodeProto, *, domains: tuple[str, ...] = ("",), x: Any = X, y: Any = Y) -> onnx.ModelProto:
    graph = helper.make_graph([node], "graph", [helper.make_tensor_value_info(*x)], [helper.make_tensor_value_info(*y)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(d, 17 if not d else 1) for d in domains])
    model.ir_version = 9
    return model


def foreign(models: Any) -> None:
    node = helper.make_node("Steal", ["x"], ["y"], domain="com.example")
    models.put("model@1", model_of(node, domains=("", "com.example")), ([X], [Y]), GOLDEN)


def not_golden(models: Any) -> None:
    models.put("model@1", model_of(helper.make_node("Neg", ["x"], ["y"])), ([X], [Y]), GOLDEN)


def no_batch(models: Any) -> None:
    flat = [(name, kind, [3]) for name, kind, _ in (X, Y)]
    model = model_of(helper.make_node("Add", ["x", "x"], ["y"]), x=flat[0], y=flat[1])
    models.put("model@1", model, ([X], [Y]), GOLDEN)


def other_type(models: Any) -> None:
    model = model_of(helper.make_node("Add", ["x", "x"], ["y"]))
    wide = [(name, TensorProto.FLOAT, ["N", 4]) for name in ("x", "y")]
    models.put("model@1", model, ([wide[0]], [wide[1]]), ({"x": [1.0] * 4}, {"y": [2.0] * 4}))


def not_batchable(models: Any) -> None:
    """Right for a single row, wrong for several: every row gets the sum of the batch."""
    model = model_of(helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1))
    one_number = [(name, TensorProto.FLOAT, ["N", 1]) for name in ("x", "y")]
    model = model_of(helper.make_node("CumSum", ["x", "axis"], ["y"]), x=one_number[0], y=one_number[1])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, np.int64), "axis"))
    models.put("model@1", model, ([one_number[0]], [one_number[1]]), ({"x": [1.0]}, {"y": [1.0]}))


def not_onnx(models: Any) -> None:
    models.put("model@1", b"\x08\x07not a model", ([X], [Y]), GOLDEN)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (foreign, r"operator Steal.*'com.example'.*standard operators"),
        (not_golden, r"model@1 in a batch of 1: golden output y\[0, 0\]: found -1.0, expected 2.0 within 1e-05"),
        (no_batch, r"input x: found tensor\(float\)\[3\], expected FP32\[3\] after a batch dimension"),
        (other_type, r"input x: found tensor\(float\)\['N', 3\], expected FP32\[4\]"),
        (not_batchable, r"model@1 in a batch of 7: golden output y\[1, 0\]: found 2.0, expected 1.0"),
        (not_onnx, r"model@1: file: .*expected an ONNX model"),
    ],
)
def test_a_model_that_must_not_serve_is_refused_once_and_for_all(
    models: Any, make: Callable[[Any], None], says: str
) -> None:
    make(models)
    status = end_of(models)
    assert status.phase is ArmPhase.FAILED
    assert status.restarts == 0
    assert re.search(says, status.reason), status.reason


def test_a_candidate_of_another_signature_than_controls_is_refused(models: Any) -> None:
    models.put_scale("model@1", 2.0)
    wanted = TensorSpec("x", Datatype.FP64, (3,))
    control = models.repository.manifest("model@1").signature
    status = end_of(models, expected=replace(control, inputs=(wanted,)))
    assert status.phase is ArmPhase.FAILED
    assert "input x: found FP32[3], expected FP64[3] as control has" in status.reason
    assert end_of(models, expected=Signature(control.inputs, control.outputs)).ready


def test_a_model_file_that_changed_after_it_was_pinned_is_refused(models: Any) -> None:
    folder = models.put_scale("model@1", 2.0)
    pinned = models.repository.pin("model@1")
    (folder / "model.onnx").unlink()
    (folder / "model.yaml").unlink()
    folder.rmdir()
    models.put_scale("model@1", 5.0)
    arm = Arm("control", (pinned,), models.repository)
    arm.start()
    status = models.reached(arm, lambda status: status.ready or status.final)
    arm.stop()
    assert status.phase is ArmPhase.FAILED
    assert f"expected {pinned.sha256} as applied" in status.reason


def test_an_unknown_execution_provider_is_refused_with_those_there_are(models: Any) -> None:
    models.put_scale("model@1", 2.0)
    status = end_of(models, options=ArmOptions(providers=("NoSuchExecutionProvider",)))
    assert status.phase is ArmPhase.FAILED
    assert "found NoSuchExecutionProvider, expected one of" in status.reason
    assert "CPUExecutionProvider" in status.reason


def test_a_model_that_does_not_fit_its_memory_is_refused_or_tried_again_but_never_ready(models: Any) -> None:
    models.put_scale("model@1", 2.0)
    arm = Arm("canary", (models.repository.pin("model@1"),), models.repository, ArmOptions(memory_bytes=1 << 20))
    arm.start()
    try:
        status = models.reached(arm, lambda status: status.final or status.restarts > 0)
        assert "memory" in status.reason
    finally:
        arm.stop()


def test_a_refused_model_is_taken_up_once_its_files_are_mended(models: Any) -> None:
    folder = models.put_scale("model@1", 2.0)
    pinned, good = models.repository.pin("model@1"), (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(good + b"!")
    arm = Arm("canary", (pinned,), models.repository)
    arm.start()
    try:
        status = models.reached(arm, lambda status: status.final)
        assert "Restore the file" in status.reason
        (folder / "model.onnx").write_bytes(good)
        models.reached(arm, lambda status: status.ready)
    finally:
        arm.stop()


def test_where_address_space_means_nothing_resident_memory_is_watched(models: Any) -> None:
    """Providers other than the CPU's reserve more than they use."""
    models.put_scale("model@1", 2.0)
    providers = ("AzureExecutionProvider", "CPUExecutionProvider")
    with models.running("model@1", providers=providers, memory_bytes=0) as arm:
        x = np.ones((100_000, 3), np.float32)
        job = Job({"x": x}, np.zeros(len(x), np.int8), [arm], limits=Limits(run_rows=100_000))
        Dispatcher().submit(job).collect(lambda: True)
        status = models.reached(arm, lambda status: status.restarts > 0)
    assert "it used more than 0 bytes of memory" in status.reason


def test_a_killed_process_is_started_again_from_the_same_bytes(models: Any) -> None:
    folder = models.put_scale("model@1", 2.0)
    with models.running("model@1") as arm:
        (folder / "model.onnx").write_bytes(b"something else by now")
        first = arm.status.pid
        os.kill(first, signal.SIGKILL)
        status = models.reached(arm, lambda status: status.ready and status.pid != first)
    assert status.restarts == 1
    assert arm.status.phase is ArmPhase.STOPPED


def test_signals_meant_for_the_parent_do_not_end_the_process(models: Any) -> None:
    models.put_scale("model@1", 2.0)
    with models.running("model@1") as arm:
        pid = arm.status.pid
        assert os.getsid(pid) == pid
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        os.kill(pid, signal.SIGKILL)
        status = models.reached(arm, lambda status: status.restarts == 1)
        assert "SIGKILL" in status.reason


def test_stopping_leaves_no_process_and_no_descriptor(models: Any) -> None:
    models.put_scale("model@1", 2.0)
    before = sorted(Path("/proc/self/fd").iterdir())
    with models.running("model@1") as arm:
        pid = arm.status.pid
    assert not Path(f"/proc/{pid}").exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == len(before)


PARENT = """
    import sys, time
    import numpy as np
    from streamsplit.inference.arm import Arm
    from streamsplit.inference.dispatch import Dispatcher
    from streamsplit.inference.job import Job
    from streamsplit.inference.repository import Repository

    repository = Repository(sys.argv[1])
    arm = Arm("control", (repository.pin("loop@1"),), repository)
    arm.start()
    arm.wait(lambda status: status.ready, 60)
    flight = Dispatcher().submit(Job({"x": np.array([1 << 40])}, np.zeros(1, np.int8), [arm]))
    print(arm.status.pid, flush=True)
    time.sleep(600)
"""


def test_a_killed_parent_leaves_no_process_behind(models: Any) -> None:
    """Not even one that is in the middle of an endless run."""
    models.put_looper("loop@1")
    arguments = [sys.executable, "-c", textwrap.dedent(PARENT), str(models.root)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        with contextlib.closing(os.fdopen(child, "rb", closefd=True)):
            ended, _, _ = select.select([child], [], [], 60)
    assert ended
