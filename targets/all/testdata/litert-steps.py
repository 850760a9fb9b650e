"""Runs a .tflite file in LiteRT's integer kernels and holds each operator against the real result of the integers that it got:
litert-steps.py MODE FILE INPUTS.npz prints a line of JSON for each kind of operator: how many there are, how many steps the worst element is
from the rounded real result (-1: that kind is not computed here), and how far from the real result itself."""
import json
import sys

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

RESOLVERS = {'plain': OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, 'reference': OpResolverType.BUILTIN_REF}
CODES = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}


def load(path, feeds, mode):
    m = Interpreter(model_path=path, num_threads=1, experimental_op_resolver_type=RESOLVERS[mode], experimental_preserve_all_tensors=True)
    m.allocate_tensors()
    ports = m.get_signature_runner().get_input_details()
    with np.load(feeds) as given:
        for name, d in ports.items():
            m.set_tensor(d['index'], given[name].astype(d['dtype']))
    m.invoke()
    with open(path, 'rb') as f:
        return m, schema.ModelT.InitFromObj(schema.Model.GetRootAs(f.read(), 0))


def real(m, graph, i):
    """What the integers of a tensor stand for."""
    a, q = m.get_tensor(i).astype(np.float64), graph.tensors[i].quantization
    if q is None or q.scale is None or len(q.scale) == 0:
        return a
    scale, zero = np.array(q.scale, np.float64), np.array(q.zeroPoint, np.float64)
    if len(scale) > 1:
        shape = [1] * a.ndim
        shape[q.quantizedDimension] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return (a - zero) * scale


def window(size, kernel, stride, same):
    if not same:
        return (size - kernel) // stride + 1, 0, 0
    n = -(-size // stride)
    pad = max((n - 1) * stride + kernel - size, 0)
    return n, pad // 2, pad - pad // 2


def convolution(x, w, b, o, depthwise):
    kh, kw = w.shape[1:3]
    dh, dw, sh, sw = o.dilationHFactor, o.dilationWFactor, o.strideH, o.strideW
    h, top, bottom = window(x.shape[1], (kh - 1) * dh + 1, sh, o.padding == 0)
    v, left, right = window(x.shape[2], (kw - 1) * dw + 1, sw, o.padding == 0)
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    y = 0
    for i in range(kh):
        for j in range(kw):
            p = x[:, i * dh:i * dh + (h - 1) * sh + 1:sh, j * dw:j * dw + (v - 1) * sw + 1:sw, :]
            y = y + (np.repeat(p, w.shape[3] // x.shape[3], 3) * w[0, i, j] if depthwise else p @ w[:, i, j, :].T)
    return y + b


def compute(code, o, x):
    """The real result of an operator; None where that is not known here."""
    bias = x[2] if len(x) > 2 and x[2] is not None else 0
    if code in ('CONV_2D', 'DEPTHWISE_CONV_2D'):
        return convolution(x[0], x[1], bias, o, code == 'DEPTHWISE_CONV_2D')
    if code == 'FULLY_CONNECTED':
        return x[0].reshape(-1, x[1].shape[1]) @ x[1].T + bias
    if code == 'ADD':
        return x[0] + x[1]
    if code == 'MUL':
        return x[0] * x[1]
    if code == 'CONCATENATION':
        return np.concatenate(x, o.axis)
    if code == 'QUANTIZE':
        return x[0]
    if code == 'LOGISTIC':
        return 1 / (1 + np.exp(-x[0]))
    return None


def main():
    m, model = load(sys.argv[2], sys.argv[3], sys.argv[1])
    graph = model.subgraphs[0]
    kinds = {}
    for op in graph.operators:
        out = graph.tensors[op.outputs[0]]
        if out.type != schema.TensorType.INT8:
            continue
        c = model.operatorCodes[op.opcodeIndex]
        code, o = CODES[max(c.builtinCode, c.deprecatedBuiltinCode)], op.builtinOptions
        y = compute(code, o, [real(m, graph, i) if i >= 0 else None for i in op.inputs])
        k = kinds.setdefault(code, {'operator': code, 'count': 0, 'steps': -1 if y is None else 0, 'distance': 0})
        k['count'] += 1
        if y is None:
            continue
        activation = getattr(o, 'fusedActivationFunction', 0)
        if activation == schema.ActivationFunctionType.RELU:
            y = np.maximum(y, 0)
        elif activation == schema.ActivationFunctionType.RELU6:
            y = np.clip(y, 0, 6)
        elif activation:
            raise ValueError(f'{code} with activation {activation}')
        exact = np.clip(y / out.quantization.scale[0] + out.quantization.zeroPoint[0], -128, 127)
        got = m.get_tensor(op.outputs[0]).astype(np.float64).reshape(exact.shape)
        k['steps'] = max(k['steps'], int(np.abs(np.rint(exact) - got).max()))
        k['distance'] = max(k['distance'], float(np.abs(exact - got).max()))
    for k in kinds.values():
        print(json.dumps(k))


main()
