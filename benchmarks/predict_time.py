"""Time of `leukobench predict` as a whole process, from its start to the written table, for both families.

    pip install '.[onnx]'
    leukobench predict ...            # once, so that the compiled code is in its cache
    python benchmarks/predict_time.py IMAGES --svm runs/svm --network runs/network
    python benchmarks/predict_time.py IMAGES --network runs/network --batch-sizes 4 8 16 32 --cores 1 2

IMAGES is a folder; `--images` of them are predicted, evenly spaced. The runs are trained by `leukobench train-svm` and
`train-cnn`. Each line is the fastest of `--repeats` processes: the seconds of the clock, the CPU time of the process
and its workers, and the largest difference of a score from the first line of its family. A line with one image shows
what the start costs. `cores` are those that the process may use; SVM and k-NN use one worker process a core.

ONNX Runtime runs the file that `leukobench export --onnx` writes of the network, on the same squares, read by the same
function. It neither loads Keras nor flags cells unlike the training cells.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.results.run import read_run_folder
from leukobench.workflows.export import export_onnx

# scores of the images of a list by an ONNX file, written like those of `predict`
ONNX = """
import json, os, sys
from pathlib import Path
import numpy as np, onnxruntime
from leukobench.cnn.data import read_square

model, listed, out, batch = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = len(os.sched_getaffinity(0))
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
how = json.loads(session.get_modelmeta().custom_metadata_map["preprocessing"])
paths = listed.read_text().splitlines()
scores = []
for first in range(0, len(paths), batch):
    squares = [read_square(Path(p), how["background"], how["frame"], how["side"]) for p in paths[first:first + batch]]
    scores += session.run(["score"], {"images": np.stack(squares)})[0].tolist()
with open(out, "w") as file:
    file.write("path,score\\n" + "".join(f"{path},{score!r}\\n" for path, score in zip(paths, scores)))
"""


@dataclass(frozen=True)
class Timed:
    """One way to predict a list of images.

    Attributes:
        wall: Seconds of the clock.
        cpu: CPU time of the process and its workers, s.
        scores: Score of each image.
    """

    wall: float
    cpu: float
    scores: np.ndarray


def timed(command: list[str], out: Path, cores: int, repeats: int) -> Timed:
    """Run a command on some cores several times; return the fastest run."""
    runs = []
    for _ in range(repeats):
        out.unlink(missing_ok=True)
        before, start = os.times(), time.perf_counter()
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            preexec_fn=partial(os.sched_setaffinity, 0, sorted(os.sched_getaffinity(0))[:cores]),
        )
        wall, after = time.perf_counter() - start, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        runs.append(Timed(wall, cpu, pd.read_csv(out)["score"].to_numpy()))
    return min(runs, key=lambda run: run.wall)


def predicting(run: Path, listed: Path, out: Path, *options: str) -> list[str]:
    """Return the command that predicts a list of images with a run."""
    return [sys.executable, "-m", "leukobench.cli", "predict", str(run), str(listed), "-o", str(out), *options]


class Table:
    """The printed table; the first line of all images of a family is what scores are compared with."""

    def __init__(self, out: Path, repeats: int) -> None:
        self.out, self.repeats = out, repeats
        print(f"{'':44} {'images':>7} {'cores':>6} {'wall, s':>9} {'CPU, s':>8} {'images/s':>9} {'difference':>11}")

    def line(self, what: str, command: list[str], images: int, cores: int, reference: np.ndarray | None) -> np.ndarray:
        """Time a command, print its line, and return the scores."""
        run = timed(command, self.out, cores, self.repeats)
        difference = "" if reference is None else f"{np.abs(run.scores - reference).max():11.1e}"
        print(
            f"{what:44} {images:7,} {cores:6} {run.wall:9.2f} {run.cpu:8.2f} {images / run.wall:9.0f} {difference}",
            flush=True,
        )
        return run.scores


def time_classifier(table: Table, run: Path, lists: dict[int, Path], cores: Iterable[int]) -> None:
    """Print the lines of a run of SVM or k-NN."""
    name, scores = read_run_folder(run).info.recipe, None
    for images, listed in lists.items():
        for number in cores:
            command = predicting(run, listed, table.out, "--jobs", str(number))
            found = table.line(f"{name}, {number} process{'es' * (number > 1)}", command, images, number, scores)
            if images > 1 and scores is None:
                scores = found


def time_network(
    table: Table, run: Path, model: Path, lists: dict[int, Path], cores: Iterable[int], batch_sizes: list[int]
) -> None:
    """Print the lines of a network, and of its ONNX file."""
    name, scores = read_run_folder(run).info.recipe, None
    kinds: dict[str, Callable[[Path, int], list[str]]] = {
        name: lambda listed, size: predicting(run, listed, table.out, "--batch-size", str(size)),
        "ONNX Runtime": lambda listed, size: [
            *(sys.executable, "-c", ONNX, str(model), str(listed), str(table.out), str(size))
        ],
    }
    for images, listed in lists.items():
        for number in cores:
            for size in batch_sizes if images > 1 else batch_sizes[:1]:
                for kind, command in kinds.items():
                    what = f"{kind}, batch size {size}"
                    found = table.line(what, command(listed, size), images, number, scores if images > 1 else None)
                    if images > 1 and scores is None:
                        scores = found


def main() -> None:
    """Predict with each run in each way, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="images, at any depth")
    parser.add_argument("--svm", type=Path, help="run folder of SVM or k-NN")
    parser.add_argument("--network", type=Path, help="run folder of a network of one split")
    parser.add_argument("--images", type=int, default=1000, help="number of images, evenly spaced")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    arguments = parser.parse_args()
    found = sorted(arguments.folder.absolute().rglob("*.bmp"))
    paths = found[:: max(1, len(found) // arguments.images)][: arguments.images]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; {time.strftime('%d %B %Y')}"
    )
    print(f"load {os.getloadavg()[0]:.1f}; each line is the fastest of {arguments.repeats}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lists = {1: folder / "one.txt", len(paths): folder / "all.txt"}
        for number, listed in lists.items():
            listed.write_text("".join(f"{path}\n" for path in paths[:number]))
        table = Table(folder / "predictions.csv", arguments.repeats)
        if arguments.svm:
            time_classifier(table, arguments.svm, lists, arguments.cores)
        if arguments.network:
            (model,) = export_onnx(arguments.network, folder / "network.onnx")
            time_network(table, arguments.network, model, lists, arguments.cores, arguments.batch_sizes)


if __name__ == "__main__":
    main()
