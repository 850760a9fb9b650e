import os
import tempfile
import unittest
from unittest import mock

import numpy as np
import onnx
import onnx.helper as oh
import onnx.reference

import onnxopt


def model() -> onnx.ModelProto:
    w = oh.make_tensor("w", onnx.TensorProto.FLOAT, [4], [1, 2, 3, 4])
    x = oh.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 4])
    y = oh.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 4])
    nodes = [oh.make_node("Add", ["x", "w"], ["a"]), oh.make_node("Add", ["x", "w"], ["b"]), oh.make_node("Identity", ["b"], ["c"]), oh.make_node("Mul", ["a", "c"], ["y"])]
    return oh.make_model(oh.make_graph(nodes, "g", [x], [y], [w]), opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


class Optimize(unittest.TestCase):
    def test_proto(self):
        small = onnxopt.optimize(model())
        self.assertIsInstance(small, onnx.ModelProto)
        self.assertEqual([n.op_type for n in small.graph.node], ["Add", "Mul"])
        x = np.arange(8, dtype=np.float32).reshape(2, 4)
        a, b = (onnx.reference.ReferenceEvaluator(m).run(None, {"x": x})[0] for m in (model(), small))
        np.testing.assert_array_equal(a, b)

    def test_bytes_and_passes(self):
        small = onnxopt.optimize(model().SerializeToString(), passes=["identity", "cse"])
        self.assertEqual(len(onnx.load_model_from_string(small).graph.node), 2)
        self.assertEqual(onnxopt.optimize(model().SerializeToString(), level=0), model().SerializeToString())

    def test_path(self):
        with tempfile.TemporaryDirectory() as d:
            src, dst = os.path.join(d, "m.onnx"), os.path.join(d, "s.onnx")
            onnx.save(model(), src)
            report = onnxopt.optimize(src, output=dst, skip=["cse"], verify="strict")
            self.assertEqual(report["after"]["nodes"], 3)
            self.assertEqual(report["verification"]["state"], "verified")
            self.assertEqual(len(onnx.load(dst).graph.node), 3)

    def test_errors(self):
        with self.assertRaises(onnxopt.OnnxoptError) as e:
            onnxopt.optimize(b"junk")
        self.assertEqual(e.exception.code, 1)
        with self.assertRaises(onnxopt.OnnxoptError) as e:
            onnxopt.optimize(model(), passes="nothing")
        self.assertEqual(e.exception.code, 2)
        self.assertIn("nothing", e.exception.message)
        for bad in (lambda: onnxopt.optimize("m.onnx"), lambda: onnxopt.optimize(b"", output="x"), lambda: onnxopt.optimize(b"", passes="cse", level=1)):
            self.assertRaises(ValueError, bad)
        with mock.patch.dict(os.environ, {"ONNXOPT": "/nowhere/onnxopt"}):
            self.assertRaises(FileNotFoundError, onnxopt.optimize, b"x")


if __name__ == "__main__":
    unittest.main()
