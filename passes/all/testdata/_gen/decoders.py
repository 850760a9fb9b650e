"""Writes the models of decoders.txtar: GPT-2 and Llama of two layers with random weights, in the arithmetic that torch.onnx writes, with
keys and values of the past as inputs and outputs; "step" is Llama for one token at a time.

    python passes/all/testdata/_gen/decoders.py DIR     # writes DIR/*.onnx; onnxopt -O0 --format text prints them

Needs onnx and numpy.
"""
import sys

import numpy as np
import onnx
from onnx import helper as h, numpy_helper

rng = np.random.default_rng(0)
LOWEST = np.float32(np.finfo(np.float32).min)


class Graph:
    def __init__(self, opset):
        self.nodes, self.consts, self.count, self.opset = [], {}, 0, opset
        self.inputs, self.outputs = [], []

    def name(self, letter):
        self.count += 1
        return f"{letter}{self.count}"

    def c(self, v):
        n = self.name("c")
        self.consts[n] = np.asarray(v)
        return n

    def ints(self, *v):
        return self.c(np.array(v, np.int64))

    def op(self, kind, *ins, n=1, **attrs):
        outs = [self.name("v") for _ in range(n)]
        self.nodes.append(h.make_node(kind, list(ins), outs, **attrs))
        return outs[0] if n == 1 else outs

    def weight(self, *shape):
        return self.c((rng.standard_normal(shape) * 0.2).astype(np.float32).round(3))

    def scale(self, n):
        return self.c((1 + 0.1 * rng.standard_normal(n)).astype(np.float32).round(3))

    def input(self, name, kind, shape):
        self.inputs.append(h.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, value, name, shape):
        for node in self.nodes:
            node.input[:] = [name if i == value else i for i in node.input]
            node.output[:] = [name if o == value else o for o in node.output]
        self.outputs.append(h.make_tensor_value_info(name, 1, shape))
        return name

    def size(self, x, axis):
        return self.op("Gather", self.op("Shape", x), self.c(np.array(axis, np.int64)), axis=0)

    def shape(self, *sizes):
        parts = [self.ints(s) if isinstance(s, int) else self.op("Unsqueeze", s, self.ints(0)) for s in sizes]
        return self.op("Concat", *parts, axis=0)

    def reshape(self, x, *sizes):
        return self.op("Reshape", x, self.shape(*sizes))

    def heads(self, x, batch, length, heads, size):
        return self.op("Transpose", self.reshape(x, batch, length, heads, size), perm=[0, 2, 1, 3])

    def mean(self, x):
        return self.op("ReduceMean", x, self.ints(-1)) if self.opset >= 18 else self.op("ReduceMean", x, axes=[-1])

    def rms(self, x, n):
        square = self.op("Pow", x, self.c(np.float32(2)))
        root = self.op("Sqrt", self.op("Add", self.mean(square), self.c(np.float32(1e-3))))
        return self.op("Mul", self.scale(n), self.op("Mul", x, self.op("Div", self.c(np.float32(1)), root)))

    def norm(self, x, n):
        return self.op("LayerNormalization", x, self.scale(n), self.weight(n), axis=-1, epsilon=1e-3)

    def conv1d(self, x, batch, length, m, n):  # of GPT-2: Gemm over all vectors
        y = self.op("Gemm", self.reshape(x, -1, m), self.weight(m, n), self.weight(n))
        return self.reshape(y, batch, length, n)

    def gelu(self, x):
        f = lambda v: self.c(np.float32(v))
        cube = self.op("Mul", self.op("Pow", x, f(3)), f(0.044715))
        e = self.op("Tanh", self.op("Mul", self.op("Add", x, cube), f(np.sqrt(2 / np.pi))))
        return self.op("Mul", self.op("Mul", x, f(0.5)), self.op("Add", e, f(1)))


def past(g, layer, heads, size):
    return [g.input(f"past.{layer}.{n}", 1, ["B", heads, "P", size]) for n in ("key", "value")]


def gpt2(opset, layers=2, H=8, N=2, V=12, places=16):
    g, D = Graph(opset), H // N
    ids, pos = g.input("input_ids", 7, ["B", "S"]), g.input("position_ids", 7, ["B", "S"])
    x = g.op("Add", g.op("Gather", g.weight(V, H), ids), g.op("Gather", g.weight(places, H), pos))
    batch, length = g.size(ids, 0), g.size(ids, 1)
    zero, one = g.c(np.array(0, np.int64)), g.c(np.array(1, np.int64))
    for i in range(layers):
        y = g.conv1d(g.norm(x, H), batch, length, H, 3 * H)
        q, k, v = g.op("Split", y, g.ints(H, H, H), n=3, axis=2)
        q, k, v = (g.heads(t, batch, length, N, D) for t in (q, k, v))
        pk, pv = past(g, i, N, D)
        k, v = g.op("Concat", pk, k, axis=-2), g.op("Concat", pv, v, axis=-2)
        k, v = g.output(k, f"present.{i}.key", ["B", N, "T", D]), g.output(v, f"present.{i}.value", ["B", N, "T", D])
        s = g.op("Div", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), g.c(np.float32(np.sqrt(D))))
        total = g.size(k, 2)
        keys = g.op("Unsqueeze", g.op("Range", zero, total, one), g.ints(0, 1, 2))
        queries = g.op("Unsqueeze", g.op("Range", g.op("Sub", total, g.size(q, 2)), total, one), g.ints(0, 1, 3))
        seen = g.op("LessOrEqual", keys, queries)
        s = g.op("Softmax", g.op("Where", seen, s, g.c(LOWEST)), axis=-1)
        o = g.reshape(g.op("Transpose", g.op("MatMul", s, v), perm=[0, 2, 1, 3]), batch, length, H)
        x = g.op("Add", g.conv1d(o, batch, length, H, H), x)
        x = g.op("Add", x, g.conv1d(g.gelu(g.conv1d(g.norm(x, H), batch, length, H, 2 * H)), batch, length, 2 * H, H))
    g.output(g.op("MatMul", g.norm(x, H), g.weight(H, V)), "logits", ["B", "S", V])
    return g


def rotate(g, x, cos, sin, size):
    last, end = g.ints(3), g.ints(2**63 - 1)
    first, second = g.op("Slice", x, g.ints(0), g.ints(size // 2), last), g.op("Slice", x, g.ints(size // 2), end, last)
    turned = g.op("Concat", g.op("Neg", second), first, axis=-1)
    return g.op("Add", g.op("Mul", x, cos), g.op("Mul", turned, sin))


def repeat(g, x, groups):  # repeat_kv: each head of keys and values serves groups of queries
    batch, heads, length, size = (g.size(x, i) for i in range(4))
    wide = g.op("Expand", g.op("Unsqueeze", x, g.ints(2)), g.shape(batch, heads, groups, length, size))
    return g.reshape(wide, batch, g.op("Mul", heads, g.c(np.array(groups, np.int64))), length, size)


def llama(opset, layers=2, H=16, N=4, KV=2, V=12, S="S"):
    g, D = Graph(opset), H // N
    ids, seen, pos = g.input("input_ids", 7, ["B", S]), g.input("attention_mask", 7, ["B", "T"]), g.input("position_ids", 7, ["B", S])
    x = g.op("Gather", g.weight(V, H), ids)
    batch, length = g.size(ids, 0), g.size(ids, 1)
    # angles
    frequency = g.c((1 / 100 ** (np.arange(0, D, 2) / D)).astype(np.float32).reshape(1, D // 2, 1))
    angle = g.op("MatMul", frequency, g.op("Cast", g.op("Unsqueeze", pos, g.ints(1)), to=1))
    angle = g.op("Transpose", angle, perm=[0, 2, 1])
    angle = g.op("Concat", angle, angle, axis=-1)
    cos, sin = (g.op("Unsqueeze", g.op(f, angle), g.ints(1)) for f in ("Cos", "Sin"))
    # mask: no key that is padding or comes after
    zero, one = g.c(np.array(0, np.int64)), g.c(np.array(1, np.int64))
    total = g.size(seen, 1)
    keys = g.op("Unsqueeze", g.op("Range", zero, total, one), g.ints(0, 1, 2))
    queries = g.op("Unsqueeze", g.op("Range", g.op("Sub", total, length), total, one), g.ints(0, 1, 3))
    ok = g.op("And", g.op("LessOrEqual", keys, queries), g.op("Cast", g.op("Unsqueeze", seen, g.ints(1, 2)), to=9))
    mask = g.op("Where", ok, g.c(np.float32(0)), g.c(LOWEST))
    for i in range(layers):
        y = g.rms(x, H)
        q, k, v = (g.heads(g.op("MatMul", y, g.weight(H, n * D)), batch, length, n, D) for n in (N, KV, KV))
        q, k = rotate(g, q, cos, sin, D), rotate(g, k, cos, sin, D)
        pk, pv = past(g, i, KV, D)
        k, v = g.op("Concat", pk, k, axis=-2), g.op("Concat", pv, v, axis=-2)
        k, v = g.output(k, f"present.{i}.key", ["B", KV, "T", D]), g.output(v, f"present.{i}.value", ["B", KV, "T", D])
        k, v = repeat(g, k, N // KV), repeat(g, v, N // KV)
        s = g.op("Mul", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), g.c(np.float32(1 / np.sqrt(D))))
        s = g.op("Softmax", g.op("Add", s, mask), axis=-1)
        o = g.reshape(g.op("Transpose", g.op("MatMul", s, v), perm=[0, 2, 1, 3]), batch, length, H)
        x = g.op("Add", x, g.op("MatMul", o, g.weight(H, H)))
        y = g.rms(x, H)
        gate = g.op("MatMul", y, g.weight(H, 24))
        y = g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), g.op("MatMul", y, g.weight(H, 24)))
        x = g.op("Add", x, g.op("MatMul", y, g.weight(24, H)))
    g.output(g.op("MatMul", g.rms(x, H), g.weight(H, V)), "logits", ["B", S, V])
    return g


for name, g in {"gpt2-17": gpt2(17), "gpt2-23": gpt2(23), "llama-17": llama(17), "llama-23": llama(23), "step-17": llama(17, H=32, S=1)}.items():
    graph = h.make_graph(g.nodes, "main", g.inputs, g.outputs, [numpy_helper.from_array(v, k) for k, v in g.consts.items()])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", g.opset)], ir_version=8 if g.opset < 23 else 11)
    onnx.checker.check_model(model)
    onnx.save(model, f"{sys.argv[1]}/{name}.onnx")
