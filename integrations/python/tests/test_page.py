"""Runs the calls of docs/python.md: ours all, those of others where their package is installed, and compares what both make."""

import contextlib
import importlib
import io
import os
import re
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import onnx.reference

import onnxopt

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


def row(line):
    """The two code cells of a row of a table, or None. A cell is code in backquotes; ours may hold commas and bars of no table."""
    m = re.fullmatch(r"\| `(.*?)` \| `(.*?)` \|", line)
    return m.groups() if m else None


def answers(path_or_model, x):
    m = path_or_model if isinstance(path_or_model, onnx.ModelProto) else onnx.load(path_or_model)
    onnx.checker.check_model(m, full_check=True)
    sample = {m.graph.input[0].name: x}
    try:
        from onnxruntime import InferenceSession

        return InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, sample)[0]
    except ImportError:
        return onnx.reference.ReferenceEvaluator(m).run(None, sample)[0]


class Page(unittest.TestCase):
    def setUp(self):
        self.old, self.dir = os.getcwd(), tempfile.mkdtemp()
        shutil.copy(ROOT / "testdata" / "digits" / "digits.onnx", os.path.join(self.dir, "model.onnx"))
        os.chdir(self.dir)
        rng = np.random.default_rng(0)
        self.samples = rng.random((32, 1, 16, 16), dtype=np.float32)
        np.savez("cal.npz", image=self.samples)

    def tearDown(self):
        os.chdir(self.old)
        shutil.rmtree(self.dir)

    def names(self):
        r = {"onnx": onnx, "onnxopt": onnxopt, "model": onnx.load("model.onnx")}
        for name in ("onnxsim", "onnxslim"):
            with contextlib.suppress(ImportError):
                r[name] = importlib.import_module(name)
        with contextlib.suppress(ImportError):
            q = importlib.import_module("onnxruntime.quantization")
            samples = self.samples

            class Reader(q.CalibrationDataReader):
                def __init__(self):
                    self.left = iter([{"image": x[None]} for x in samples])

                def get_next(self):
                    return next(self.left, None)

            r.update({n: getattr(q, n) for n in ("quantize_static", "quantize_dynamic", "QuantFormat", "QuantType", "CalibrationMethod")}, reader=Reader)
        return r

    def test_code(self):
        for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, {})
        self.assertRegex(out.getvalue(), r"verified\n2 .*quantise")

    def test_rows(self):
        rows = [r for r in map(row, PAGE.splitlines()) if r]
        self.assertEqual(len(rows), PAGE.count("\n| `"), "a row is not two calls")
        self.assertGreater(len(rows), 25)
        x = self.samples[:1]
        want = answers("model.onnx", x)
        run = {}
        for theirs, ours in rows:
            with self.subTest(ours):
                lossy = "q.onnx" in ours or "precision" in ours
                got = self.result(ours, x)
                if not lossy:
                    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)
                else:
                    self.assertEqual(np.argmax(got), np.argmax(want))
            package = re.split(r"[.(]", theirs.split("= ")[-1] if theirs.startswith("small") else theirs)[0]
            if package not in self.names():
                continue
            run[package] = run.get(package, 0) + 1
            with self.subTest(theirs):
                try:
                    other = self.result(theirs, x)
                except ModuleNotFoundError as e:  # of an optional part
                    print(f"left out: {theirs}: {e}", file=sys.stderr)
                    continue
                self.assertEqual(other.shape, got.shape)
        print("calls of others that were run:", run or "none, as none is installed", file=sys.stderr)

    def result(self, call, x):
        for f in ("small.onnx", "q.onnx"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(f)
        names = self.names()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(call, names)
        for f in ("small.onnx", "q.onnx"):
            if os.path.exists(f):
                return answers(f, x)
        return answers(names["small"], x)


if __name__ == "__main__":
    unittest.main()
