"""A list of what an HDF5 file holds, made by a process of its own.

The HDF5 library can crash, hang or fill the memory over a damaged file. `keras.py` therefore runs
this file as a program, which only says where the arrays lie. It imports nothing of this project.

Usage: python hdf5_index.py FILE COPIES BYTES. Arrays that do not lie in one piece, such as
compressed ones, are written to COPIES, at most BYTES in all. Prints one JSON object.
"""

import json
import sys
from typing import Any

_SECONDS = 20  # of computing; a file of thousands of arrays takes less than one
_MEMORY = 2**31  # bytes beyond those of the file
_MOST = 50_000  # arrays and groups


def _texts(value: Any) -> list[str]:
    """An attribute that lists names."""
    items = value.tolist() if hasattr(value, "tolist") else value
    items = items if isinstance(items, list) else [items]
    return [i.decode("utf-8", "replace") if isinstance(i, bytes) else str(i) for i in items]


def index(path: str, copies: str, most: int) -> dict[str, Any]:
    """Attributes of the groups and places of the arrays."""
    import h5py

    found: dict[str, Any] = {"attributes": {}, "arrays": []}
    written = 0
    with h5py.File(path, "r") as file, open(copies, "wb") as out:

        def visit(name: str, item: Any) -> None:
            nonlocal written
            if len(found["arrays"]) + len(found["attributes"]) > _MOST:
                raise ValueError(f"more than {_MOST} arrays and groups")
            if not isinstance(item, h5py.Dataset):
                texts = {key: _texts(item.attrs[key]) for key in item.attrs if _wanted(key)}
                if texts:
                    found["attributes"][name] = texts
                return
            kind = item.dtype
            entry = {"name": name, "dtype": kind.str, "shape": item.shape, "copied": False}
            if kind.kind not in "fiub" or item.external or item.is_virtual:
                return  # texts and records; data that stand in other files
            entry["offset"] = item.id.get_offset()
            if entry["offset"] is None:
                written += item.size * kind.itemsize
                if written > most:
                    raise ValueError(f"{name} is larger than {most} bytes when unpacked")
                entry |= {"offset": out.tell(), "copied": True}
                out.write(item[()].tobytes())
            found["arrays"].append(entry)

        visit("", file)
        file.visititems(visit)
    return found


def _wanted(key: str) -> bool:
    """Whether an attribute tells names; Keras splits long lists into name0, name1 and so on."""
    return key.rstrip("0123456789") in (
        "layer_names", "weight_names", "name", "model_config", "keras_version",
    )  # fmt: skip


def main() -> None:
    """Prints the index, or one line about what went wrong."""
    import resource  # not on Windows, where this file may still be imported

    memory = _MEMORY + int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        print(json.dumps(index(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
    except Exception as error:  # whatever h5py makes of damage
        print(json.dumps({"error": " ".join(f"{type(error).__name__}: {error}".split())[:200]}))


if __name__ == "__main__":
    main()
