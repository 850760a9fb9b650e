"""Build wheels: one without the command for any platform, and one with the static command for each platform.

    python build.py --out dist            all of them; needs Go
    python build.py --out dist --only any linux/amd64

The wheels hold no time stamps, so that the same sources give the same bytes.
"""

import argparse
import base64
import hashlib
import os
import subprocess
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VERSION = "0.1.0"
TAGS = {
    "any": "py3-none-any",
    "linux/amd64": "py3-none-manylinux2014_x86_64.musllinux_1_1_x86_64",
    "linux/arm64": "py3-none-manylinux2014_aarch64.musllinux_1_1_aarch64",
    "darwin/amd64": "py3-none-macosx_12_0_x86_64",
    "darwin/arm64": "py3-none-macosx_12_0_arm64",
    "windows/amd64": "py3-none-win_amd64",
    "windows/arm64": "py3-none-win_arm64",
}
METADATA = f"""Metadata-Version: 2.1
Name: onnxopt
Version: {VERSION}
Summary: An optimizer for ONNX models
License: Apache-2.0
Requires-Python: >=3.9
"""


def binary(platform: str) -> tuple[str, bytes]:
    """The static command for a platform."""
    goos, goarch = platform.split("/")
    name = "onnxopt.exe" if goos == "windows" else "onnxopt"
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, name)
        env = dict(os.environ, GOOS=goos, GOARCH=goarch, CGO_ENABLED="0")
        subprocess.run(["go", "build", "-trimpath", "-tags", "static", "-ldflags", "-s -w", "-o", out, "./cmd/onnxopt"], cwd=ROOT, env=env, check=True)
        return name, Path(out).read_bytes()


def build(platform: str, out: Path) -> Path:
    tag = TAGS[platform]
    files: list[tuple[str, bytes, int]] = []
    for path in sorted((HERE / "onnxopt").iterdir()):
        if path.suffix == ".py" or path.name == "py.typed":
            files.append((f"onnxopt/{path.name}", path.read_bytes(), 0o644))
    if platform != "any":
        name, data = binary(platform)
        files.append((f"onnxopt/bin/{name}", data, 0o755))
    info = f"onnxopt-{VERSION}.dist-info"
    root = "true" if platform == "any" else "false"
    tags = "".join(f"Tag: py3-none-{t}\n" for t in tag.split("-", 2)[2].split("."))
    files.append((f"{info}/METADATA", METADATA.encode(), 0o644))
    files.append((f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: onnxopt\nRoot-Is-Purelib: {root}\n{tags}".encode(), 0o644))
    record = ""
    for name, data, _ in files:
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    record += f"{info}/RECORD,,\n"
    files.append((f"{info}/RECORD", record.encode(), 0o644))
    wheel = out / f"onnxopt-{VERSION}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data, mode in files:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(entry, data)
    return wheel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("dist"))
    parser.add_argument("--only", nargs="*", choices=list(TAGS), default=list(TAGS))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for platform in args.only:
        print(build(platform, args.out))


if __name__ == "__main__":
    main()
