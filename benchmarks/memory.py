"""Memory of one training step of PreLSTM on fc6 and fc7 of VGG16: `python -m benchmarks.memory`.

Batch 1, 4 frames, float32, SGD with momentum. The high-water mark of the process is set back just
before the step, once the model that the state was made from is gone; beside it stands what weights,
gradients and momentum count, 4 bytes each. One JSON line.
"""

import argparse
import gc
import json
from pathlib import Path

from benchmarks.timing import report_machine
from benchmarks.train_step import Case, our_step, parameter_count
from prernn_jax.backbones.vgg import VGG16

CASE = Case(
    "vgg16 fc6/7", "vgg16", VGG16, {}, ("fc6", "fc7"), (1, 4, 224, 224, 3), 136, cell="lstm"
)
QUICK = CASE._replace(arguments={"width": 16, "hidden": 512, "image_size": 64},
                      clips=(1, 4, 64, 64, 3))  # fmt: skip


def memory(field: str) -> int:
    """A line of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network")
    options = parser.parse_args()
    case = QUICK if options.quick else CASE
    report_machine()
    step = our_step(case, keep=False)  # freed blocks would count on
    gc.collect()
    building = memory("VmHWM")
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
    step()  # compiles too
    first = memory("VmHWM")
    Path("/proc/self/clear_refs").write_text("5")
    step()
    count = parameter_count(case)
    line = {
        "case": f"{case.name}, PreLSTM, clips {'x'.join(map(str, case.clips))}, float32",
        "parameters": count,
        "counted_bytes": 3 * 4 * count,
        "peak_bytes_of_a_step": memory("VmHWM"),
        "peak_bytes_of_the_first_step": first,
        "bytes_before_it": before,
        "peak_bytes_of_building": building,
    }
    line["ratio"] = round(line["peak_bytes_of_a_step"] / line["counted_bytes"], 2)
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
