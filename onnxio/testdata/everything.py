"""Makes everything.onnx, which uses every message of onnx.proto, and onnx.fds, the description of onnx.proto for tests.

    python everything.py        (onnx 1.23)

onnx.proto is Apache-2.0, (c) ONNX Project Contributors.
"""
import onnx
from google.protobuf import descriptor_pb2
from onnx import TensorProto as T, helper as h


def prop(p, **kv):
    for k, v in kv.items():
        e = p.add()
        e.key, e.value = k, v


def info(name, elem, shape, **kw):
    v = h.make_tensor_value_info(name, elem, shape)
    v.doc_string = "doc of " + name
    prop(v.metadata_props, about=name)
    return v


x = info("x", T.FLOAT, ["N", 4])
x.type.denotation = "TENSOR"
x.type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
y, z, s = info("y", T.FLOAT, ["N", 4]), info("z", T.FLOAT, ["N", 4]), info("s", T.FLOAT, [4])
d = h.make_tensor_value_info("d", T.FLOAT, [4])

w = h.make_tensor("w", T.FLOAT, [4], [1, 2, 3, 4])
w.doc_string = "weights"
prop(w.metadata_props, trained="yes")
scale, zero = h.make_tensor("scale", T.FLOAT, [], [0.5]), h.make_tensor("zero", T.UINT8, [], [3])
default = h.make_tensor("d", T.FLOAT, [4], [0, 0, 0, 1])
sparse = h.make_sparse_tensor(h.make_tensor("sp", T.FLOAT, [2], [5, 6]), h.make_tensor("sp_idx", T.INT64, [2], [1, 3]), [4])

call = h.make_node("Scale", ["x", "w"], ["a"], name="call", domain="local", factor=2.0)
call.overload = "float"
call.doc_string = "calls a function"
prop(call.metadata_props, from_="exporter")
dev = call.device_configurations.add()
dev.configuration_id = "pair"
spec = dev.sharding_spec.add()
spec.tensor_name = "a"
spec.device.extend([0, 1])
dim = spec.sharded_dim.add()
dim.axis = 0
dim.simple_sharding.add().num_shards = 2

inner = h.make_graph([h.make_node("Add", ["a", "b_in"], ["b_out"]), h.make_node("Identity", ["cond"], ["cond_out"])], "body",
                     [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("cond", T.BOOL, []), h.make_tensor_value_info("b_in", T.FLOAT, None)],
                     [h.make_tensor_value_info("cond_out", T.BOOL, []), h.make_tensor_value_info("b_out", T.FLOAT, None)])
nodes = [
    call,
    h.make_node("Constant", [], ["trips"], value=h.make_tensor("t", T.INT64, [], [2])),
    h.make_node("Loop", ["trips", "", "a"], ["b"], name="loop", body=inner),
    h.make_node("Add", ["b", "sp"], ["y"]),
    h.make_node("Identity", ["y"], ["z"]),
    h.make_node("Add", ["d", "sp"], ["s"]),
    h.make_node("Opaque", ["a"], ["", "unused"], name="opaque", domain="vendor", f=1.5, i=-2, s=b"\xff\x00", floats=[1.0, 2.0], ints=[1, -1],
                strings=["p", "q"], t=w, ts=[scale, zero], tp=h.make_tensor_type_proto(T.INT4, [2]),
                tps=[h.make_sequence_type_proto(h.make_tensor_type_proto(T.STRING, None)),
                     h.make_optional_type_proto(h.make_tensor_type_proto(T.BFLOAT16, [1, "K"])),
                     h.make_map_type_proto(T.STRING, h.make_tensor_type_proto(T.FLOAT, [])), h.make_sparse_tensor_type_proto(T.FLOAT, [3])],
                sp=sparse, sps=[sparse]),
]
g = h.make_graph(nodes, "main", [x, d], [y, z, s], [w, scale, zero, default], doc_string="the graph",
                 value_info=[info("a", T.FLOAT, ["N", 4]), info("w", T.FLOAT, [4]), info("nobody", T.INT64, [7])], sparse_initializer=[sparse])
q = g.quantization_annotation.add()
q.tensor_name = "a"
prop(q.quant_parameter_tensor_names, SCALE_TENSOR="scale", ZERO_POINT_TENSOR="zero")
prop(g.metadata_props, level="graph")

f = h.make_function("local", "Scale", ["p", "q"], ["r"], [
    h.make_node("Constant", [], ["k"]), h.make_node("Mul", ["p", "q"], ["m"]), h.make_node("Mul", ["m", "k"], ["r"])],
    [h.make_opsetid("", 25)], ["other"], [h.make_attribute("factor", 1.0)], overload="float", doc_string="a function")
ref = f.node[0].attribute.add()
ref.name, ref.type, ref.ref_attr_name = "value_float", onnx.AttributeProto.FLOAT, "factor"
f.value_info.append(info("m", T.FLOAT, None))
prop(f.metadata_props, level="function")

m = h.make_model(g, functions=[f], opset_imports=[h.make_opsetid("", 25), h.make_opsetid("vendor", 1), h.make_opsetid("local", 1)], ir_version=13,
                 producer_name="everything.py", producer_version="1", domain="com.example", model_version=7, doc_string="the model")
prop(m.metadata_props, level="model")
c = m.configuration.add()
c.name, c.num_devices = "pair", 2
c.device.extend(["a", "b"])
t = m.training_info.add()
t.initialization.CopyFrom(h.make_graph([h.make_node("RandomNormal", [], ["w_start"], shape=[4])], "init", [], [h.make_tensor_value_info("w_start", T.FLOAT, [4])]))
t.algorithm.CopyFrom(h.make_graph([h.make_node("Sub", ["w", "rate"], ["w_new"])], "step", [], [h.make_tensor_value_info("w_new", T.FLOAT, [4])],
                                  [h.make_tensor("rate", T.FLOAT, [], [0.1])]))
prop(t.initialization_binding, w="w_start")
prop(t.update_binding, w="w_new")
onnx.checker.check_model(m)
unknown = bytes([0xC2, 0x3E, 3]) + b"new" + bytes([0xC8, 0x3E, 9])  # fields 1000 (bytes) and 1001 (varint)
for p in (m, m.graph, m.graph.node[0], m.graph.node[-1].attribute[0], m.graph.initializer[0], m.graph.input[0], m.graph.value_info[0],
          m.functions[0], m.training_info[0], m.graph.quantization_annotation[0]):
    p.MergeFromString(unknown)
open("everything.onnx", "wb").write(m.SerializeToString(deterministic=True))

fds = descriptor_pb2.FileDescriptorSet()
onnx.onnx_ml_pb2.DESCRIPTOR.CopyToProto(fds.file.add())
open("onnx.fds", "wb").write(fds.SerializeToString(deterministic=True))
