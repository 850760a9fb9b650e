"""The rows of the table: models, data to calibrate on and data to measure on, which have no sample in common."""
import glob, gzip, os, site
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from PIL import Image
import depthwise

SHARED = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../../shared')


def path(*p):
    return os.path.join(SHARED, *p)


def cifar(name):
    b = np.fromfile(path('data/cifar10', name), np.uint8).reshape(-1, 3073)
    return list(b[:, 1:].reshape(-1, 1, 3, 32, 32).transpose(0, 1, 3, 4, 2).astype(np.float32))


def photos(kind):
    r = []
    for p in sorted(glob.glob(path('data/imagenet300', kind, '*.jpg'))):
        x = np.asarray(Image.open(p).convert('RGB'), np.float32)[:, :, ::-1].transpose(2, 0, 1)
        r.append((x - np.array([103.939, 116.779, 123.68], np.float32)[:, None, None])[None])
    return r


def faces(names, size, convert):
    r = []
    for n in names:
        x = np.asarray(Image.open(path('data/faces', f'{n}.jpg')).convert('RGB').resize(size), np.float32)
        r.append(np.ascontiguousarray(convert(x).transpose(2, 0, 1)[None], np.float32))
    return r


def lines(part):
    r = []
    for p in sorted(glob.glob(path('data/ocr/lines/*.png')))[part]:
        im = Image.open(p).convert('RGB')
        w = int(np.ceil(48 * im.size[0] / im.size[1]))
        y = np.zeros((1, 3, 48, max(w, 320)), np.float32)
        y[0, :, :, :w] = (np.asarray(im.resize((w, 48)), np.float32)[:, :, ::-1] / 127.5 - 1).transpose(2, 0, 1)
        r.append(y)
    return r


def digits():
    b = np.frombuffer(gzip.open(glob.glob(path('data/mnist/*images*'))[0]).read(), np.uint8, offset=16)
    return list(b.reshape(-1, 1, 1, 28, 28).astype(np.float32))


def sentences(name, n):
    r = []
    for line in list(open(path('data/sts', name)))[1:n + 1]:
        for c in line.rstrip('\n').split('\t'):
            if ' ' in c:
                x = np.array([[int(t) for t in c.split()]], np.int64)
                r.append({'input_ids': x, 'attention_mask': np.ones_like(x), 'token_type_ids': np.zeros_like(x)})
    return r


def scaled(kind, side):
    """Photos as the depthwise classifiers take them, (x - 127) / 128 in RGB."""
    r = []
    for p in sorted(glob.glob(path('data/imagenet300', kind, '*.jpg'))):
        x = np.asarray(Image.open(p).convert('RGB').resize((side, side)), np.float32)
        r.append(((x - 127) / 128).transpose(2, 0, 1)[None])
    return r


def built(make, work, name):
    out = os.path.join(work, name + '.onnx')
    make(site.getsitepackages()[0], out)
    return out


def widened(work):
    """squeezenet in float32."""
    m = onnx.load(path('models/squeezenet-fp16-winml.onnx'))
    for i in m.graph.initializer:
        if i.data_type == TensorProto.FLOAT16:
            i.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(i).astype(np.float32), i.name))
    for v in list(m.graph.input) + list(m.graph.output) + list(m.graph.value_info):
        if v.type.tensor_type.elem_type == TensorProto.FLOAT16:
            v.type.tensor_type.elem_type = TensorProto.FLOAT
    out = os.path.join(work, 'squeezenet32.onnx')
    onnx.save(m, out)
    return out


def rows(work):
    """name: model, samples to calibrate on, samples to measure on, how answers are compared, our pipeline, what is to be reached."""
    named = lambda name, xs: [{name: x} for x in xs]
    model = lambda n: path('models', n + '.onnx')
    return {
        'resnet8': lambda: (model('resnet8-cifar10'), named('input_1', cifar('calib_500.bin')), named('input_1', cifar('test_2000.bin')), 'top1', 'quantize', dict(agree=.98, speed=1.35, size=.35)),
        'squeezenet': lambda: (widened(work), named('data_0', photos('calib')), named('data_0', photos('val')), 'top1', 'quantize', dict(agree=.965, speed=1.6, size=.27)),
        'lite0': lambda: (built(depthwise.efficientnet, work, 'lite0'), named('x', scaled('calib', 224)), named('x', scaled('val', 224)), 'top1', 'quantize', dict(agree=.965, speed=1.3, size=.30)),
        'mobilenetv2': lambda: (built(depthwise.mobilenet, work, 'mobilenetv2'), named('x', scaled('calib', 160)), named('x', scaled('val', 160)), 'top1', 'quantize', dict(agree=.90, speed=1.3, size=.30)),
        'rec': lambda: (model('ppocrv4-rec'), named('x', lines(slice(0, 60))), named('x', lines(slice(60, None))), 'ctc', 'quantize', dict(agree=.99, speed=1.15, size=.32)),
        'minilm': lambda: (model('minilm-l2-trimvocab-fp32'), sentences('stsb-en-dev.trimids.tsv', 50), sentences('stsb-en-test.trimids.tsv', 300), 'cosine', 'quantize', dict(agree=.995, speed=2.0, size=.26)),
        'ultraface': lambda: (model('ultraface-RFB-320'), named('input', faces([1, 2, 3, 5, 6], (320, 240), lambda x: (x - 127) / 128)), named('input', faces([8, 9, 10, 11, 12, 13], (320, 240), lambda x: (x - 127) / 128)), 'ultraface', 'quantize', dict(agree=.98, speed=1.3)),
        'fastestdet': lambda: (model('fastestdet'), named('input.1', faces([1, 2, 3, 5, 6], (352, 352), lambda x: x[:, :, ::-1] / 255)), named('input.1', faces([8, 9, 10, 11, 12, 13], (352, 352), lambda x: x[:, :, ::-1] / 255)), 'fastestdet', 'quantize', dict(agree=.98, speed=1.3)),
        'mnist': lambda: (model('mnist-8'), named('Input3', digits()[:300]), named('Input3', digits()[5000:6000]), 'top1', 'quantize{objective=size}', dict(size=.40)),
        'int8qdq': lambda: (model('resnet8-cifar10-int8qdq'), named('input_1_int8', [(x - 128).astype(np.int8) for x in cifar('calib_500.bin')[:50]]), named('input_1_int8', [(x - 128).astype(np.int8) for x in cifar('test_2000.bin')[:300]]), 'top1', 'quantize', dict(agree=1.0, size=1.0)),
    }
