"""ONNX: a file for each graph, run by onnxruntime before it is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import styleloom
from styleloom.errors import UserError
from styleloom.export.checks import Probe, compared, described, probe
from styleloom.export.graphs import Graph, graphs, quiet, recorded
from styleloom.export.targets import Options
from styleloom.sampling import Sampler
from styleloom.snapshot import Snapshot

OPSET = 18

TOLERANCE, HALF_TOLERANCE = 1e-4, 0.05
"""Largest difference from the sampler, of values in about [-1, 1]; with weights of half precision."""

HALF_MINIMUM = 256
"""Numbers that a constant must have to be kept in half precision: what is smaller is no size."""

INSTALL = "ONNX needs packages that are not installed: pip install 'styleloom[onnx]'"


def export(snapshot: Snapshot, folder: Path, options: Options) -> dict[str, Any]:
    """Write NAME.onnx for each graph to `folder`, and say what was measured of each.

    With `options.half`, weights are kept as float16; the arithmetic is float32 either way.

    Raises UserError where packages are missing, or a graph differs from the sampler.
    """
    sampler = Sampler.of(snapshot, "cpu", "fp32")
    found = graphs(sampler, options.noise)
    files = write_graphs(sampler, found, folder, options)
    return {"noise": options.noise, "half": options.half, "opset": OPSET, "graphs": files}


def write_graphs(
    sampler: Sampler, found: Sequence[Graph], folder: Path, options: Options
) -> dict[str, dict[str, Any]]:
    """Write some graphs of `sampler` as `export` does; by name, what was measured of each."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(INSTALL) from error
    samples = probe(sampler, options.noise)
    return {graph.name: _write(graph, samples, sampler, folder, options.half) for graph in found}


def _write(graph: Graph, samples: Probe, sampler: Sampler, folder: Path, half: bool) -> dict[str, Any]:
    """One graph to its file."""
    import onnx

    model = _translated(graph)
    if half:
        _halve(model.graph)
    about = {"styleloom": styleloom.__version__, "snapshot_sha256": sampler.snapshot_sha256}
    onnx.helper.set_model_props(model, {"styleloom": json.dumps(about)})
    model.producer_name = "styleloom"
    file = folder / f"{graph.name}.onnx"
    file.write_bytes(model.SerializeToString())
    measured = compared(graph, _runner(file), samples, HALF_TOLERANCE if half else TOLERANCE)
    return {**described(graph, file), **measured}


def _translated(graph: Graph) -> Any:
    """The graph as an onnx.ModelProto."""
    with quiet():
        program = torch.onnx.export(
            recorded(graph),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(graph.inputs),
            output_names=[graph.output],
            external_data=False,
        )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:  # where in our source each came from, which is more than small weights
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:], model.graph.metadata_props[:], model.metadata_props[:]
    return model


def _halve(graph: Any) -> None:
    """Keep the weights of an onnx.GraphProto as float16, each behind a cast to float32.

    A constant with values that float16 cannot hold stays as it is.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for constant in graph.initializer:
        if constant.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(constant)
        if values.size < HALF_MINIMUM or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = constant.name
        constant.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _runner(file: Path) -> Any:
    """A file as a function of tensors, in onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        return torch.from_numpy(session.run(None, {name: t.numpy() for name, t in inputs.items()})[0])

    return run
