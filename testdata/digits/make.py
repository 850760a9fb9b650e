"""Makes the digits data and the classifier that onnxopt ships: our own drawings, so that no licence but the project's applies.

    python3 make.py            # needs numpy and onnx

Writes digits-images.idx3.gz and digits-labels.idx1.gz (2,000 drawings of 16x16 pixels; the last fifth is held out from
training) and digits.onnx: a small convolutional network with the glue that exporters leave (Identity, Constant, Dropout,
Pad before Conv, unfolded BatchNormalization, shape arithmetic before Reshape, MatMul and Add).
"""
import gzip, struct
import numpy as np
import onnx
from onnx import helper as h, numpy_helper as nh, TensorProto as T

SIZE, COUNT, HELD = 16, 2000, 400
# Strokes of each digit as polylines in the unit square, y down.
ARC = lambda cx, cy, rx, ry, a, b: [(cx + rx * np.cos(t), cy + ry * np.sin(t)) for t in np.linspace(np.radians(a), np.radians(b), 14)]
STROKES = {
    0: [ARC(.5, .5, .27, .4, 0, 360)],
    1: [[(.35, .25), (.55, .1), (.55, .9)]],
    2: [ARC(.5, .32, .25, .22, 180, 380) + [(.25, .9), (.78, .9)]],
    3: [ARC(.46, .3, .26, .2, 200, 450), ARC(.46, .7, .28, .2, 270, 520)],
    4: [[(.62, .9), (.62, .1), (.22, .65), (.8, .65)]],
    5: [[(.74, .1), (.32, .1), (.3, .45)] + ARC(.48, .66, .26, .24, 235, 500)],
    6: [[(.64, .08), (.36, .42)] + ARC(.5, .68, .24, .22, 200, 560)],
    7: [[(.24, .12), (.76, .12), (.42, .9)]],
    8: [ARC(.5, .3, .2, .19, 90, 450), ARC(.5, .7, .25, .21, 270, 630)],
    9: [ARC(.5, .32, .23, .22, 0, 360), [(.73, .32), (.66, .9)]],
}


def draw(digit, r):
    """One drawing: the strokes under a random affine map, with wobble, thickness and noise."""
    a, s = r.normal(0, .14), r.normal(0, .12)
    m = np.array([[np.cos(a), -np.sin(a) + s], [np.sin(a), np.cos(a)]]) * r.uniform(.78, 1.05) * np.array([r.uniform(.8, 1.1), 1])
    yy, xx = np.mgrid[0:SIZE, 0:SIZE]
    p = np.stack([(xx + .5) / SIZE, (yy + .5) / SIZE], -1)
    best = np.full((SIZE, SIZE), 9.)
    shift = .5 + r.normal(0, .045, 2)
    for line in STROKES[digit]:
        q = (np.array(line) - .5 + r.normal(0, .018, (len(line), 2))) @ m.T + shift
        for u, v in zip(q[:-1], q[1:]):
            d = v - u
            t = np.clip(((p - u) @ d) / max(d @ d, 1e-9), 0, 1)[..., None]
            best = np.minimum(best, np.linalg.norm(p - u - t * d, axis=-1))
    ink = np.clip(1.4 - best / r.uniform(.05, .085), 0, 1)
    return np.clip(ink * r.uniform(170, 255) + r.normal(0, 14, ink.shape), 0, 255).astype(np.uint8)


def columns(x, k):
    """Patches of the zero-padded x: [N,C,H,W] -> [N,H,W,C*k*k]."""
    n, c, hh, w = x.shape
    x = np.pad(x, ((0, 0), (0, 0), (k // 2,) * 2, (k // 2,) * 2))
    v = np.lib.stride_tricks.sliding_window_view(x, (k, k), (2, 3))
    return v.transpose(0, 2, 3, 1, 4, 5).reshape(n, hh, w, c * k * k)


class Layer:
    """Conv 3x3, BatchNormalization, Relu, MaxPool 2x2, with their gradients."""

    def __init__(self, r, cin, cout):
        self.w = (r.normal(0, 1, (cout, cin * 9)) * np.sqrt(2 / (cin * 9))).astype(np.float32)
        self.g, self.b = np.ones(cout, np.float32), np.zeros(cout, np.float32)
        self.mean, self.var = np.zeros(cout, np.float32), np.ones(cout, np.float32)
        self.cin = cin

    def forward(self, x, train):
        self.cols = columns(x, 3)
        z = self.cols @ self.w.T
        if train:
            mu, va = z.mean((0, 1, 2)), z.var((0, 1, 2))
            self.mean, self.var = .9 * self.mean + .1 * mu, .9 * self.var + .1 * va
        else:
            mu, va = self.mean, self.var
        self.s = 1 / np.sqrt(va + 1e-5)
        self.zn = (z - mu) * self.s
        y = np.maximum(self.zn * self.g + self.b, 0).transpose(0, 3, 1, 2)
        n, c, hh, w = y.shape
        t = y.reshape(n, c, hh // 2, 2, w // 2, 2)
        out = t.max((3, 5))
        self.mask = (t == out[:, :, :, None, :, None]) & (t > 0)
        return out

    def backward(self, d):
        n, c, hh, w = d.shape
        dy = (self.mask * d[:, :, :, None, :, None]).reshape(n, c, hh * 2, w * 2).transpose(0, 2, 3, 1)
        self.dg, self.db = (dy * self.zn).sum((0, 1, 2)), dy.sum((0, 1, 2))
        k = dy.shape[0] * dy.shape[1] * dy.shape[2]
        dz = self.g * self.s * (dy - self.db / k - self.zn * self.dg / k)
        self.dw = np.tensordot(dz, self.cols, ((0, 1, 2), (0, 1, 2)))
        wt = self.w.reshape(c, self.cin, 3, 3)[:, :, ::-1, ::-1].transpose(1, 0, 2, 3).reshape(self.cin, -1)
        return (columns(dz.transpose(0, 3, 1, 2), 3) @ wt.T).transpose(0, 3, 1, 2)


def train(x, y, r):
    layers = [Layer(r, 1, 8), Layer(r, 8, 16)]
    dense = (r.normal(0, 1, (256, 10)) / 16).astype(np.float32)
    bias = np.zeros(10, np.float32)
    velocity = {}
    for epoch in range(30):
        rate = .1 * .5 * (1 + np.cos(np.pi * epoch / 30))
        order = r.permutation(len(x))
        for i in range(0, len(x), 50):
            xb, yb = x[order[i:i + 50]], y[order[i:i + 50]]
            a = layers[1].forward(layers[0].forward(xb, True), True)
            f = a.reshape(len(xb), -1)
            z = f @ dense + bias
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(yb)), yb] -= 1
            p /= len(yb)
            grads = [(dense, f.T @ p), (bias, p.sum(0))]
            layers[0].backward(layers[1].backward((p @ dense.T).reshape(a.shape)))
            for l in layers:
                grads += [(l.w, l.dw), (l.g, l.dg), (l.b, l.db)]
            for v, g in grads:
                m = velocity[id(v)] = .9 * velocity.get(id(v), 0) - rate * (g + 1e-4 * v)
                v += m.astype(np.float32)
    return layers, dense, bias


def predict(net, x):
    layers, dense, bias = net
    return layers[1].forward(layers[0].forward(x, False), False).reshape(len(x), -1) @ dense + bias


def export(net, path):
    layers, dense, bias = net
    nodes, inits = [], []
    init = lambda name, v: (inits.append(nh.from_array(np.ascontiguousarray(v), name)), name)[1]
    def const(name, v):
        nodes.append(h.make_node('Constant', [], [name], name='Constant_' + name, value=nh.from_array(np.array(v))))
        return name
    def node(op, ins, out, **a):
        nodes.append(h.make_node(op, ins, [out], name=f'{op}_{len(nodes)}', **a))
        return out
    v = node('Identity', ['image'], 'image_identity')
    v = node('Div', [v, const('scale', np.float32(255))], 'scaled')
    for i, l in enumerate(layers):
        c = len(l.w)
        v = node('Pad', [v, const(f'pads{i}', np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))], f'padded{i}')
        v = node('Conv', [v, init(f'conv{i}.weight', l.w.reshape(c, l.cin, 3, 3))], f'conv{i}', kernel_shape=[3, 3])
        bn = [init(f'bn{i}.{k}', a.astype(np.float32)) for k, a in (('weight', l.g), ('bias', l.b), ('running_mean', l.mean), ('running_var', l.var))]
        v = node('BatchNormalization', [v] + bn, f'bn{i}', epsilon=1e-5)
        v = node('Relu', [v], f'relu{i}')
        v = node('MaxPool', [v], f'pool{i}', kernel_shape=[2, 2], strides=[2, 2])
        v = node('Dropout', [v], f'drop{i}')
    batch = node('Gather', [node('Shape', [v], 'shape'), const('zero', np.int64(0))], 'batch', axis=0)
    parts = [node('Unsqueeze', [batch, const('axis0', np.array([0], np.int64))], 'batch1'), const('minus1', np.array([-1], np.int64))]
    v = node('Reshape', [v, node('Concat', parts, 'target', axis=0)], 'flat')
    v = node('Add', [node('MatMul', [v, init('fc.weight', dense)], 'product'), init('fc.bias', bias)], 'scores_raw')
    v = node('Cast', [v], 'scores_cast', to=T.FLOAT)
    node('Identity', [v], 'scores')
    g = h.make_graph(nodes, 'digits', [h.make_tensor_value_info('image', T.FLOAT, ['N', 1, SIZE, SIZE])],
                     [h.make_tensor_value_info('scores', T.FLOAT, ['N', 10])], inits)
    m = h.make_model(g, producer_name='onnxopt digits', opset_imports=[h.make_opsetid('', 17)], ir_version=8)
    onnx.checker.check_model(m, full_check=True)
    onnx.save(m, path)


def idx(path, a):
    head = struct.pack('>HBB', 0, 8, a.ndim) + b''.join(struct.pack('>I', n) for n in a.shape)
    with open(path, 'wb') as f, gzip.GzipFile('', 'wb', 9, f, mtime=0) as z:
        z.write(head + a.tobytes())


def main():
    r = np.random.default_rng(20)
    labels = (np.arange(COUNT) % 10).astype(np.uint8)
    images = np.stack([draw(int(d), r) for d in labels])
    x = (images[:, None] / 255).astype(np.float32)
    net = train(x[:-HELD], labels[:-HELD].astype(int), r)
    hit = (predict(net, x[-HELD:]).argmax(1) == labels[-HELD:]).mean()
    print(f'held-out accuracy {hit:.3f}')
    idx('digits-images.idx3.gz', images)
    idx('digits-labels.idx1.gz', labels)
    export(net, 'digits.onnx')


main()
