"""A model in float64: the same graph, computed without the rounding of its float32 or float16."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NARROW = {TensorProto.FLOAT, TensorProto.FLOAT16}
# Operands that must stay float32 whatever the others are.
FLOAT_OPERANDS = {'Resize': (2,), 'Upsample': (1,)}
# Operators whose result is float32 or narrower by what they are: float64 has no meaning behind them.
QUANTIZED = {'QuantizeLinear', 'DequantizeLinear', 'DynamicQuantizeLinear', 'QLinearConv', 'QLinearMatMul', 'ConvInteger', 'MatMulInteger'}


def graphs(model):
    """Every graph of the model, with its nodes' subgraphs."""
    todo = [model.graph]
    while todo:
        g = todo.pop()
        yield g
        todo += [h for n in g.node for a in n.attribute for h in ([a.g] if a.type == onnx.AttributeProto.GRAPH else a.graphs)]


def quantized(model):
    return any(n.op_type in QUANTIZED or n.domain not in ('', 'ai.onnx') for g in graphs(model) for n in g.node)


def widen_tensor(t):
    if t.data_type in NARROW:
        t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float64), t.name))


def widen_type(t):
    if t.HasField('tensor_type') and t.tensor_type.elem_type in NARROW:
        t.tensor_type.elem_type = TensorProto.DOUBLE
    for inner in ('sequence_type', 'optional_type'):
        if t.HasField(inner):
            widen_type(getattr(t, inner).elem_type)


def widen_node(n):
    for a in n.attribute:
        if a.type == onnx.AttributeProto.TENSOR:
            widen_tensor(a.t)
        elif n.op_type == 'Constant' and a.name in ('value_float', 'value_floats'):
            v = np.array(a.f if a.name == 'value_float' else list(a.floats), np.float64)
            a.CopyFrom(helper.make_attribute('value', numpy_helper.from_array(v)))
        elif a.name in ('to', 'dtype') and a.i in NARROW:
            a.i = TensorProto.DOUBLE
    if n.op_type == 'ConstantOfShape' and not n.attribute:
        n.attribute.append(helper.make_attribute('value', numpy_helper.from_array(np.zeros(1, np.float64))))


def widen(model):
    """Makes the model one of float64, in place."""
    for g in graphs(model):
        for t in g.initializer:
            widen_tensor(t)
        for v in (*g.input, *g.output, *g.value_info):
            widen_type(v.type)
        nodes = []
        for n in g.node:
            widen_node(n)
            for i in FLOAT_OPERANDS.get(n.op_type, ()):
                if i < len(n.input) and n.input[i]:
                    name = f'{n.input[i]}/float32/{len(nodes)}'
                    nodes.append(helper.make_node('Cast', [n.input[i]], [name], to=TensorProto.FLOAT))
                    n.input[i] = name
            nodes.append(n)
        nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
        del g.node[:]
        g.node.extend(nodes)
