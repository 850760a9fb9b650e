"""Optimize ONNX models with onnxopt, whose command does the work.

    import onnxopt
    small = onnxopt.optimize(model)                        # a ModelProto, bytes, or a path
    onnxopt.optimize("model.onnx", output="small.onnx")    # files of any size, with external data

The command is the one in this package (platform wheels), the one that ONNXOPT names, or the one on the PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence, Union, overload

if TYPE_CHECKING:
    import onnx

__all__ = ["OnnxoptError", "command", "optimize", "run"]

PathLike = Union[str, "os.PathLike[str]"]


class OnnxoptError(RuntimeError):
    """The command failed: code is its exit code (1 a check failed or the input is bad, 2 wrong usage, 3 an internal error),
    message its line, report what it printed as JSON."""

    def __init__(self, code: int, message: str, report: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.report = report or {}


def command() -> str:
    """Path of the command. FileNotFoundError if there is none."""
    name = "onnxopt.exe" if sys.platform == "win32" else "onnxopt"
    own = Path(__file__).with_name("bin") / name
    for path in (os.environ.get("ONNXOPT"), str(own) if own.is_file() else None, shutil.which("onnxopt")):
        if path:
            return path
    raise FileNotFoundError("there is no onnxopt command: install a platform wheel, put it on the PATH, or name it in ONNXOPT")


def run(args: Sequence[str], stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run the command with args. OnnxoptError if it fails."""
    done = subprocess.run([command(), *args], input=stdin, capture_output=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it failed"]
        message = lines[-1].removeprefix("onnxopt: ")
        report = None
        try:
            report = json.loads(done.stdout)
            message = report.get("reason", message)
        except (ValueError, AttributeError):
            pass
        raise OnnxoptError(done.returncode, message, report)
    return done


def _options(passes: str | Sequence[str] | None, level: int | None, options: dict[str, Any]) -> list[str]:
    args: list[str] = []
    if passes is not None and level is not None:
        raise ValueError("passes and level exclude each other")
    if passes is not None:
        args += ["-p", passes if isinstance(passes, str) else ",".join(passes)]
    if level is not None:
        args.append(f"-O{level}")
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        for v in value if isinstance(value, (list, tuple)) else [value]:
            args.append(flag if v is True else f"{flag}={os.fspath(v) if isinstance(v, os.PathLike) else v}")
    return args


@overload
def optimize(model: "onnx.ModelProto", *, passes: str | Sequence[str] | None = ..., level: int | None = ..., **options: Any) -> "onnx.ModelProto": ...
@overload
def optimize(model: bytes, *, passes: str | Sequence[str] | None = ..., level: int | None = ..., **options: Any) -> bytes: ...
@overload
def optimize(model: PathLike, *, output: PathLike, passes: str | Sequence[str] | None = ..., level: int | None = ..., **options: Any) -> dict[str, Any]: ...


def optimize(model: Any, *, output: Any = None, passes: Any = None, level: int | None = None, **options: Any) -> Any:
    """Optimize a model: -O2 unless passes (as -p takes them, or a list) or a level say otherwise.

    A ModelProto gives a ModelProto and bytes give bytes. A path needs output, and gives what the command reports as JSON; models above
    2 GiB and external data go this way. Further options are those of the command: verify="strict", calib="images.npz",
    skip=["cse"], freeze_defaults=True. OnnxoptError if the model is bad, or the result does not compute the same.
    """
    args = _options(passes, level, options)
    if isinstance(model, (str, os.PathLike)):
        if output is None:
            raise ValueError("a path needs output=")
        done = run([os.fspath(model), "-o", os.fspath(output), "--json", "--quiet", *args])
        return json.loads(done.stdout)
    if output is not None:
        raise ValueError("output= is for a model that is given as a path")
    if isinstance(model, (bytes, bytearray, memoryview)):
        return run(["-", "-o", "-", "--quiet", *args], bytes(model)).stdout
    try:
        data = model.SerializeToString()
    except ValueError as e:  # protobuf writes no more than 2 GiB
        raise OnnxoptError(1, f"the model is too large to hand over in memory, give it as a path: {e}") from e
    result = type(model)()
    result.ParseFromString(run(["-", "-o", "-", "--quiet", *args], data).stdout)
    return result
