"""A depthwise-separable network for pictures of 96 x 96, as those of MobileNet (Howard et al., 2017), with seeded weights."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def network(path, size=96):
    rng = np.random.default_rng(1)
    nodes, weights = [], []

    def conv(x, inputs, outputs, kernel, stride, group=1):
        name = f"c{len(nodes)}"
        w = rng.normal(0, (2 / (inputs // group * kernel * kernel)) ** 0.5, (outputs, inputs // group, kernel, kernel)).astype(np.float32)
        b = rng.normal(0, 0.1, outputs).astype(np.float32)
        weights.extend([numpy_helper.from_array(w, name + "_w"), numpy_helper.from_array(b, name + "_b")])
        nodes.append(helper.make_node("Conv", [x, name + "_w", name + "_b"], [name], strides=[stride] * 2, pads=[kernel // 2] * 4, group=group))
        nodes.append(helper.make_node("Relu", [name], [name + "_r"]))
        return name + "_r"

    x, c = conv("x", 3, 16, 3, 2), 16
    for outputs, stride in [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1)]:
        x = conv(x, c, c, 3, stride, c)
        x, c = conv(x, c, outputs, 1, 1), outputs
    weights.extend([numpy_helper.from_array(rng.normal(0, 0.06, (c, 10)).astype(np.float32), "w"), numpy_helper.from_array(np.zeros(10, np.float32), "b")])
    nodes.extend([helper.make_node("GlobalAveragePool", [x], ["p"]), helper.make_node("Flatten", ["p"], ["f"]), helper.make_node("Gemm", ["f", "w", "b"], ["y"])])
    graph = helper.make_graph(nodes, "separable", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, size, size])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
