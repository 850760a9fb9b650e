"""Models made for measuring: a transformer, a CNN, a chain of ten-node blocks, and a large one with external data.

Weights are few and small, except in the large one, so that what is measured is the work per node."""
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """A graph under construction: values are names."""

    def __init__(self, seed):
        self.nodes, self.constants, self.random, self.named = [], [], np.random.default_rng(seed), {}

    def const(self, array, dtype=np.float32):
        a = np.asarray(array, dtype)
        name = f'c{len(self.constants)}'
        self.constants.append(numpy_helper.from_array(a, name))
        return name

    def same(self, key, array, dtype=np.float32):
        """A constant that all nodes share."""
        if key not in self.named:
            self.named[key] = self.const(array, dtype)
        return self.named[key]

    def weight(self, *shape):
        return self.const(self.random.standard_normal(shape) / np.sqrt(shape[0]))

    def op(self, kind, *operands, **attributes):
        name = f'v{len(self.nodes)}'
        self.nodes.append(helper.make_node(kind, list(operands), [name], name=f'/{kind}_{len(self.nodes)}', **attributes))
        return name

    def model(self, name, inputs, output, opset=17):
        values = [helper.make_tensor_value_info(k, TensorProto.FLOAT, s) for k, s in inputs.items()]
        self.nodes[-1].output[0] = 'y'
        out = helper.make_tensor_value_info('y', TensorProto.FLOAT, output)
        g = helper.make_graph(self.nodes, name, values, [out], self.constants)
        return helper.make_model(g, opset_imports=[helper.make_opsetid('', opset)], ir_version=8)


def norm(g, x, width):
    """LayerNormalization as PyTorch wrote it before opset 17: nine nodes."""
    d = g.op('Sub', x, g.op('ReduceMean', x, axes=[-1]))
    v = g.op('ReduceMean', g.op('Pow', d, g.same('two', 2.0)), axes=[-1])
    n = g.op('Div', d, g.op('Sqrt', g.op('Add', v, g.same('epsilon', 1e-5))))
    return g.op('Add', g.op('Mul', n, g.weight(width)), g.weight(width))


def transformer(nodes, width=16, heads=2):
    """Encoder layers of about eighty nodes with dynamic batch and length, as PyTorch's tracer writes them: sizes are read with Shape,
    LayerNormalization and Gelu are spelled out."""
    g, x = Graph(1), 'x'

    def size(v, axis):
        return g.op('Unsqueeze', g.op('Gather', g.op('Shape', v), g.same(f'index{axis}', axis, np.int64), axis=0), g.same('axes0', [0], np.int64))

    def linear(v, out, width=width):
        return g.op('Add', g.op('MatMul', v, g.weight(width, out)), g.weight(out))

    def split(v, perm):
        rest = [g.same('heads', [heads], np.int64), g.same('head', [width // heads], np.int64)]
        shape = g.op('Concat', size(v, 0), size(v, 1), *rest, axis=0)
        return g.op('Transpose', g.op('Reshape', v, shape), perm=perm)

    while len(g.nodes) < nodes:
        h = norm(g, x, width)
        q, k, v = linear(h, width), linear(h, width), linear(h, width)
        scores = g.op('MatMul', split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1]))
        p = g.op('Softmax', g.op('Div', scores, g.same('scale', (width / heads)**.5)), axis=-1)
        o = g.op('Transpose', g.op('MatMul', p, split(v, [0, 2, 1, 3])), perm=[0, 2, 1, 3])
        o = g.op('Reshape', o, g.op('Concat', size(o, 0), size(o, 1), g.same('width', [width], np.int64), axis=0))
        x = g.op('Add', x, linear(o, width))
        h = linear(norm(g, x, width), 2 * width)
        e = g.op('Add', g.op('Erf', g.op('Div', h, g.same('root', 2**.5))), g.same('one', 1.0))
        h = g.op('Mul', g.op('Mul', h, e), g.same('half', .5))
        x = g.op('Add', x, linear(h, width, 2 * width))
    g.op('Identity', x)
    return g.model('transformer', {'x': ['batch', 'length', width]}, ['batch', 'length', width])


def cnn(nodes, width=8):
    """Residual blocks of twelve nodes: Pad, Conv, BatchNormalization, Relu, twice, and an Add; every eighth block pools."""
    g, x = Graph(2), 'x'

    def conv(v):
        v = g.op('Pad', v, g.same('pads', [0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        v = g.op('Conv', v, g.weight(width, width, 3, 3))
        return g.op('BatchNormalization', v, g.weight(width), g.weight(width), g.weight(width),
                    g.const(1 + g.random.random(width)))

    block = 0
    while len(g.nodes) < nodes:
        y = g.op('Identity', conv(g.op('Relu', conv(x))))
        x = g.op('Clip', g.op('Add', x, y), g.same('zero', 0.0), g.same('six', 6.0))
        if block % 8 == 7:
            x = g.op('AveragePool', x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        block += 1
    g.op('Flatten', g.op('GlobalAveragePool', x))
    return g.model('cnn', {'x': ['batch', width, 32, 32]}, ['batch', width])


def chain(nodes, width=8):
    """A chain of residual blocks of ten nodes, with work for a simplifier in each: Conv, BatchNormalization and Relu, twice, with an
    Identity between, and Add, Dropout and Identity behind them. OnnxSlim and onnxsim take for it about what they took for the chain
    on which the bounds were set."""
    g, x = Graph(3), 'x'

    def conv(v):
        v = g.op('Conv', v, g.weight(width, width, 1, 1))
        return g.op('BatchNormalization', v, g.weight(width), g.weight(width), g.weight(width), g.const(1 + g.random.random(width)))

    for _ in range(nodes // 10):
        h = g.op('Identity', g.op('Relu', conv(x)))
        h = g.op('Relu', g.op('Add', conv(h), x))
        x = g.op('Identity', g.op('Dropout', h))
    return g.model('chain', {'x': [1, width, 8, 8]}, [1, width, 8, 8])


def sizes(nodes, width=8):
    """A chain of blocks of ten nodes in which a dynamic size is read, and a Reshape made of it: the simplifiers of others take far longer
    for it than for chain."""
    g, x = Graph(3), 'x'
    for _ in range(nodes // 10):
        i = g.op('Identity', x)
        n = g.op('Gather', g.op('Shape', i), g.same('first', 0, np.int64), axis=0)
        n = g.op('Concat', g.op('Unsqueeze', n, g.same('axes', [0], np.int64)), g.same('width', [width], np.int64), axis=0)
        h = g.op('MatMul', g.op('Reshape', i, n), g.weight(width, width))
        x = g.op('Add', g.op('Relu', g.op('Add', h, g.weight(width))), x)
    return g.model('sizes', {'x': ['n', width]}, ['n', width])


def large(path, layers=15, width=2900):
    """15 products of 2900x2900 (505 MB) with external data, factors for a rule to put into one of the weights, and Identity nodes. Writes
    PATH and PATH.data. Returns the bytes of the largest tensor that a rule computes."""
    g, x = Graph(4), 'x'
    names = []
    for k in range(layers):
        names.append(f'w{k}')
        x = g.op('Identity', g.op('MatMul', x, names[-1]))
    x = g.op('Mul', x, g.const(np.linspace(.5, 1.5, width)))
    g.op('Relu', x)
    m = g.model('large', {'x': [1, width]}, [1, width])
    data = path + '.data'
    with open(data, 'wb') as f:
        for k, name in enumerate(names):
            w = np.random.default_rng(k).standard_normal((width, width), dtype=np.float32) / np.float32(width**.5)
            t = m.graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=w.shape, data_location=TensorProto.EXTERNAL)
            for key, value in {'location': os.path.basename(data), 'offset': f.tell(), 'length': w.nbytes}.items():
                t.external_data.add(key=key, value=str(value))
            f.write(w.tobytes())
    with open(path, 'wb') as f:
        f.write(m.SerializeToString())
    return 4 * width * width
