"""The files of onnxruntime-web that a page needs: from a folder, or fetched by npm."""

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from prernn_jax.errors import InputError

VERSION = "1.30.0"
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def runtime_files(given: Path | None) -> dict[str, bytes]:
    """Reads the files.

    Args:
        given: The unpacked npm package onnxruntime-web, or its folder `dist`; None: `npm pack`
            fetches the package, which needs npm and its registry.

    Returns:
        Name -> content.

    Raises:
        InputError: They are not there, and npm is not there or does not get them.
    """
    if given is not None:
        folder = given / "dist" if (given / "dist").is_dir() else given
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise InputError(
                f"--ort={given}: there is no {', '.join(missing)} in it; give the unpacked npm "
                f"package onnxruntime-web ({VERSION} was tested)"
            )
        return {name: (folder / name).read_bytes() for name in FILES}
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(
            "the page needs onnxruntime-web, and npm, which fetches it, is not installed: install "
            f"npm, or unpack onnxruntime-web-{VERSION}.tgz of the npm registry and give "
            "--ort=FOLDER"
        )
    with tempfile.TemporaryDirectory() as place:
        command = [npm, "pack", "--silent", f"onnxruntime-web@{VERSION}"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        packed = list(Path(place).glob("*.tgz"))
        if done.returncode or not packed:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise InputError(
                f"npm pack onnxruntime-web@{VERSION} failed ({why[:200]}); give --ort=FOLDER, the "
                "unpacked package"
            )
        with tarfile.open(packed[0]) as archive:
            members = {name: archive.extractfile(f"package/dist/{name}") for name in FILES}
            return {name: file.read() for name, file in members.items() if file is not None}
