"""Makes ort-cases.tar.gz: single-node models of many operators and versions with random attributes and operands, and what ONNX
Runtime (without optimizations) computes for them. They cover what the ONNX node tests leave out, older versions above all.

usage: ort_cases.py 11 10 ort-cases.tar.gz      (SEED ROUNDS OUT; needs numpy, onnx and onnxruntime; made with onnx 1.23.2 and
onnxruntime 1.32.0)
"""
import random
import sys

import numpy as np
import onnx
from onnx import helper as h

from ort_writer import Writer

seed, rounds, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
random.seed(seed)
rng = np.random.default_rng(seed)
R, C = random.randint, random.choice
out = Writer(path)


def f(*shape):
    """Random floats."""
    return (rng.standard_normal(shape) * 2).astype(np.float32)


def i64(*v):
    return np.array(v, dtype=np.int64)


def emit(op, opset, ins, attrs, nout=1):
    """Adds a case, unless ONNX Runtime refuses the model."""
    out.emit(op, f"{op}_{opset}", [h.make_opsetid("", opset)], 10 if opset > 8 else 8, ins, [f"y{k}" for k in range(nout)], **attrs)


def spatial():
    n = C([1, 2, 2, 2, 3])
    return n, [R(1, 3) for _ in range(n)], [R(1, 3) for _ in range(n)], [C([1, 1, 2]) for _ in range(n)]


def cases():
    """One round: each operator once or a few times, with attributes and shapes drawn anew."""
    n, ks, st, dl = spatial()
    sz = [R(5, 9) for _ in range(n)]
    a = dict(strides=st)
    if R(0, 2):
        a['pads'] = [R(0, k - 1) if k > 1 else 0 for k in ks] + [R(0, k - 1) if k > 1 else 0 for k in ks]
    else:
        a['auto_pad'] = C(['SAME_UPPER', 'SAME_LOWER', 'VALID', 'NOTSET'])
    g = R(1, 2)
    cpg = R(1, 3)
    M = g * R(1, 3)
    if a.get('auto_pad', '')[:4] != 'SAME':
        ca = dict(a, dilations=dl, group=g)
    else:
        ca = dict(a, group=g)
    emit('Conv', C([1, 11, 22]), [f(R(1, 2), cpg * g, *sz), f(M, cpg, *ks)] + ([f(M)] if R(0, 1) else []), ca)
    ta = dict(a, group=g)
    if R(0, 1) and 'auto_pad' not in ta:
        ta['output_padding'] = [R(0, s - 1) for s in st]
    emit('ConvTranspose', C([1, 11, 22]), [f(R(1, 2), cpg * g, *[R(2, 5) for _ in sz]), f(cpg * g, R(1, 3), *ks)], ta)
    pa = dict(a, kernel_shape=ks)
    emit('MaxPool', C([1, 8]), [f(2, 3, *sz)], pa)
    emit('MaxPool', C([10, 11, 12, 22]), [f(2, 3, *sz)], dict(pa, ceil_mode=R(0, 1), storage_order=0,
            **{'dilations': dl} if 'auto_pad' not in pa else {}), C([1, 2]))
    emit('AveragePool', C([7, 10, 11]), [f(2, 3, *sz)], dict(pa, count_include_pad=R(0, 1)))
    emit('AveragePool', C([19, 22]), [f(2, 3, *sz)], dict(pa, ceil_mode=R(0, 1), count_include_pad=R(0, 1),
            **{'dilations': dl} if 'auto_pad' not in pa else {}))
    emit('LpPool', C([2, 11, 18]), [f(2, 3, *sz)], dict(pa, p=R(1, 3)))
    x8 = rng.integers(0, 255, (1, cpg * g, *sz)).astype(C([np.uint8]))
    w8 = rng.integers(-128, 127, (M, cpg, *ks)).astype(np.int8)
    if n == 2:
        emit('ConvInteger', 10, [x8, rng.integers(0, 255, (M, cpg, *ks)).astype(np.uint8), np.array(R(0, 255),
                np.uint8), np.array(R(0, 255), np.uint8)], ca)
        emit('QLinearConv', 10, [x8, np.float32(0.02), np.uint8(R(0, 255)), w8,
                (rng.random(M) * 0.01 + 0.001).astype(np.float32), np.zeros(M, np.int8), np.float32(0.05),
                np.uint8(R(0, 255)), rng.integers(-500, 500, M).astype(np.int32)], ca)
    xs = f(1, 2, R(2, 6), R(2, 6))
    mode = C(['nearest', 'linear', 'cubic'])
    ctm = C(['half_pixel', 'asymmetric', 'pytorch_half_pixel', 'align_corners', 'half_pixel_symmetric'])
    at = dict(mode=mode, coordinate_transformation_mode=ctm)
    if mode == 'nearest':
        at['nearest_mode'] = C(['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'])
    if mode == 'cubic':
        at['exclude_outside'] = R(0, 1)
    op = C([11, 13, 18, 19])
    if ctm == 'half_pixel_symmetric':
        op = 19
    if op >= 18 and R(0, 1) and (mode != 'nearest'):
        at['antialias'] = 1
    roi = np.array([], np.float32)
    sz2 = i64(1, 2, R(1, 10), R(1, 10))
    emit('Resize', op, [xs, roi, np.array([], np.float32), sz2] if op < 13 else [xs, None, None, sz2], at)
    if ctm != 'align_corners':
        emit('Resize', op, [xs, roi, np.array([1, 1, C([0.5, 0.6, 1.5, 2, 3]), C([0.5, 0.7, 2, 2.5])], np.float32)],
                at)
    sc = np.array([1, 1, C([1, 2, 3]), C([1, 2, 1.5])], np.float32)
    emit('Resize', 10, [xs, np.array([1, 1, C([0.5, 0.6, 2, 3]), C([0.5, 0.7, 2])], np.float32)],
            dict(mode=C(['nearest', 'linear'])))
    emit('Upsample', 9, [xs, sc], dict(mode=C(['nearest', 'linear'])))
    emit('Upsample', 7, [xs], dict(mode=C(['nearest', 'linear']), scales=[float(v) for v in sc]))
    x = f(R(1, 4), R(1, 5), R(1, 5))
    ax = random.sample([0, 1, 2], R(1, 3))
    st_ = [R(-6, 6) for _ in ax]
    en = [C([R(-6, 6), 2 ** 63 - 1, -2 ** 63 + 1]) for _ in ax]
    sp = [C([1, 1, 2, -1, -2]) for _ in ax]
    emit('Slice', C([10, 11, 13]), [x, i64(*st_), i64(*en), i64(*[v - 3 * R(0, 1) for v in ax]), i64(*sp)], {})
    emit('Slice', C([1, 9]), [x], dict(starts=st_, ends=[max(min(e, 2 ** 31), -2 ** 31) for e in en], axes=ax))
    pads = [R(0, 2) for _ in range(6)]
    emit('Pad', C([11, 13, 18, 19]), [x, i64(*[C([p, p, -1 if min(x.shape) > 2 else p]) for p in pads]),
            np.float32(1.5)], dict(mode='constant'))
    md = C(['edge', 'reflect'])
    pp = [min(R(0, 2), x.shape[k % 3] - 1) for k in range(6)]
    emit('Pad', C([11, 13, 18]), [x, i64(*pp)], dict(mode=md))
    emit('Pad', 2, [x], dict(mode=C(['constant', 'edge']), pads=pads, value=2.5))
    emit('Pad', 19, [x, i64(*pp)], dict(mode='wrap'))
    axs = sorted(random.sample([0, 1, 2], R(1, 3)))
    for op in ['ReduceSum', 'ReduceMean', 'ReduceMax', 'ReduceMin', 'ReduceProd', 'ReduceL1', 'ReduceL2',
            'ReduceLogSum', 'ReduceLogSumExp', 'ReduceSumSquare']:
        xx = np.abs(x) + 0.1 if op == 'ReduceLogSum' else x
        if R(0, 3) == 0 and op in ('ReduceSum', 'ReduceMax', 'ReduceMin', 'ReduceMean', 'ReduceProd', 'ReduceL1',
                'ReduceSumSquare'):
            xx = rng.integers(-9, 9, x.shape).astype(np.int32)
        emit(op, C([1, 11]), [xx], dict(axes=axs, keepdims=R(0, 1)) if R(0, 4) else dict(keepdims=R(0, 1)))
        emit(op, C([13] if op == 'ReduceSum' else [18]), [xx, i64(*axs)] if R(0, 3) else [xx], dict(keepdims=R(0, 1),
                noop_with_empty_axes=R(0, 1)))
    for op in ['Softmax', 'LogSoftmax', 'Hardmax']:
        emit(op, C([1, 11, 13]), [x], dict(axis=R(0, 2)))
    for op in ['ArgMax', 'ArgMin']:
        emit(op, C([1, 11, 12, 13]), [x.round()], dict(axis=R(0, 2), keepdims=R(0, 1)))
    emit('ArgMax', 12, [x.round()], dict(axis=R(-3, 2), select_last_index=R(0, 1)))
    k = R(1, x.shape[2])
    emit('TopK', 11, [x.round(), i64(k)], dict(axis=2, largest=R(0, 1), sorted=1), 2)
    emit('TopK', 1, [x], dict(k=k, axis=-1), 2)
    emit('TopK', 10, [x, i64(k)], dict(axis=-1), 2)
    emit('BatchNormalization', C([7, 9, 14, 15]), [f(2, 3, 4), f(3), f(3), f(3), abs(f(3)) + 0.1],
            dict(epsilon=0.001))
    A = f(4, 3)
    B = f(3, 5)
    tA, tB = (R(0, 1), R(0, 1))
    emit('Gemm', C([7, 9, 11, 13]), [A.T.copy() if tA else A, B.T.copy() if tB else B, C([f(5), f(4, 1), f(1, 5),
            f(4, 5), f(1)])], dict(transA=tA, transB=tB, alpha=0.5, beta=C([0.0, 1.0, 2.0])))
    emit('MatMul', C([1, 9, 13]), [C([f(3), f(2, 3), f(2, 4, 3), f(1, 2, 4, 3)]), C([f(3), f(3, 2), f(2, 3, 2), f(5,
            1, 3, 1)])], {})
    emit('Clip', 6, [x], dict(min=-0.5, max=0.7))
    emit('Clip', C([11, 12, 13]), [x, C([None, np.float32(-0.5)]), np.float32(0.3)], {})
    T, Bt, I, H = (R(1, 4), R(1, 3), R(1, 3), R(1, 3))
    dr = C(['forward', 'reverse', 'bidirectional'])
    D = 2 if dr[0] == 'b' else 1
    X = f(T, Bt, I)
    lens = rng.integers(1, T + 1, Bt).astype(np.int32) if R(0, 1) else None
    bi = lambda g: f(D, 2 * g * H) if R(0, 1) else None
    op = C([7, 14])
    emit('LSTM', op, [X, f(D, 4 * H, I), f(D, 4 * H, H), bi(4), lens, C([None, f(D, Bt, H)]), C([None, f(D, Bt, H)]),
            C([None, f(D, 3 * H)])], dict(hidden_size=H, direction=dr, **C([{}, {'clip': 0.5}, {'input_forget': 1},
            {'activations': ['HardSigmoid', 'Softsign', 'Relu'] * D, 'activation_alpha': [0.3] * D,
            'activation_beta': [0.4] * D}])), 3)
    emit('GRU', op, [X, f(D, 3 * H, I), f(D, 3 * H, H), bi(3), lens, C([None, f(D, Bt, H)])], dict(hidden_size=H,
            direction=dr, linear_before_reset=R(0, 1)), 2)
    emit('RNN', op, [X, f(D, H, I), f(D, H, H), bi(1), lens, C([None, f(D, Bt, H)])], dict(hidden_size=H,
            direction=dr, activations=[C(['Relu', 'Tanh', 'Sigmoid'])] * D), 2)
    q = C([np.uint8, np.int8])
    s3 = (rng.random(3) * 0.1 + 0.01).astype(np.float32)
    z3 = rng.integers(0, 100, 3).astype(q)
    emit('QuantizeLinear', C([13, 19]), [f(2, 3, 4), s3, z3], dict(axis=1))
    emit('DequantizeLinear', C([13, 19]), [rng.integers(0, 100, (2, 3, 4)).astype(q), s3, z3], dict(axis=-2))
    emit('DynamicQuantizeLinear', 11, [x], {}, 3)
    emit('MatMulInteger', 10, [rng.integers(0, 255, (4, 3)).astype(np.uint8), rng.integers(-128, 127, (3,
            5)).astype(np.int8), np.uint8(R(0, 255)), np.int8(R(-5, 5))], {})
    emit('QLinearMatMul', 10, [rng.integers(0, 255, (4, 3)).astype(np.uint8), np.float32(0.02), np.uint8(7),
            rng.integers(0, 255, (3, 5)).astype(np.uint8), np.float32(0.03), np.uint8(3), np.float32(0.05),
            np.uint8(100)], {})
    emit('LRN', 13, [f(2, R(1, 6), 3, 2)], dict(size=C([1, 3, 5]), alpha=0.1))
    emit('InstanceNormalization', 6, [f(2, 3, 4), f(3), f(3)], {})
    emit('LpNormalization', 1, [x], dict(p=R(1, 2), axis=R(-3, 2)))
    emit('LayerNormalization', 17, [x, f(x.shape[2]), f(x.shape[2])], dict(axis=-1), C([1, 3]))
    ta_ = [np.float32, np.float64, np.int32, np.int64, np.uint8, np.int8, np.bool_, np.float16, np.uint16, np.int16,
            np.uint32, np.uint64]
    src = C(ta_)
    v = rng.standard_normal(8) * 5
    v = np.abs(v) if src in (np.uint8, np.uint16, np.uint32, np.uint64) else v
    emit('Cast', C([6, 9, 13, 19]), [v.astype(src)], dict(to=int(h.np_dtype_to_tensor_dtype(np.dtype(C(ta_))))))
    it_ = C([np.int32, np.int64, np.float32, np.int8])
    va, vb = (rng.integers(-9, 9, (3, 4)).astype(it_), rng.integers(1, 5, 4).astype(it_) * C([1, -1]))
    emit('Mod', 13, [va, vb.astype(it_)], dict(fmod=1 if it_ == np.float32 else R(0, 1)))
    emit('Div', 14, [va, vb.astype(it_)], {})
    emit('Pow', 15, [np.abs(va), np.abs(vb).astype(it_)], {})
    emit('CumSum', C([11, 14]), [x, np.array(R(-3, 2), np.int64)], dict(exclusive=R(0, 1), reverse=R(0, 1)))
    emit('Gather', C([1, 11, 13]), [x, rng.integers(0, x.shape[1], (2, 2))], dict(axis=1))
    emit('GatherElements', 13, [x, rng.integers(0, x.shape[1], x.shape)], dict(axis=1))
    emit('ScatterElements', C([11, 13, 18]), [x,
            np.stack([rng.permutation(x.shape[1]) for _ in range(x.shape[0] * x.shape[2])]).reshape(x.shape[0],
            x.shape[2], -1).transpose(0, 2, 1).copy(), f(*x.shape)], dict(axis=1))
    emit('ScatterElements', 18, [x, rng.integers(0, x.shape[1], x.shape), f(*x.shape)], dict(axis=1,
            reduction=C(['add', 'mul', 'min', 'max'])))
    emit('OneHot', 11, [rng.integers(-3, 5, (2, 3)), np.int64(4), np.array([-1, 2], np.float32)], dict(axis=C([-1, 0,
            1])))
    nb = R(1, 8)
    bx = rng.random((1, nb, 4)).astype(np.float32)
    emit('NonMaxSuppression', 11, [bx, rng.random((1, 2, nb)).astype(np.float32), i64(R(1, 4)), np.array([0.3],
            np.float32), np.array([0.2], np.float32)], dict(center_point_box=R(0, 1)))
    emit('GridSample', C([16, 20]), [f(1, 2, 4, 5), (rng.random((1, 3, 3, 2)) * 2.6 - 1.3).astype(np.float32)],
            dict(padding_mode=C(['zeros', 'border', 'reflection']), align_corners=R(0, 1)))
    emit('RoiAlign', C([10, 16]), [f(1, 2, 8, 8), np.array([[0, 0, 5, 6], [1, 2, 3.5, 7]], np.float32), i64(0, 0)],
            dict(output_height=2, output_width=3, sampling_ratio=R(0, 2), spatial_scale=C([1.0, 0.5]),
            **{'mode': 'avg'}))
    emit('Einsum', 12, C([[f(2, 3), f(3, 4)], [f(2, 3), f(3, 4)]]), dict(equation=C(['ij,jk->ik', 'ij,jk',
            'ij,jk->k', 'ij,jk->'])))
    emit('Split', C([2, 11]), [x], dict(axis=2, split=[1, x.shape[2] - 1]) if x.shape[2] > 1 else dict(axis=0,
            split=[x.shape[0]]), 2 if x.shape[2] > 1 else 1)
    emit('Split', 18, [f(7, 2)], dict(axis=0, num_outputs=3), 3)
    emit('Flatten', C([1, 9, 11, 13]), [x], dict(axis=R(0, 3)))
    emit('DepthToSpace', C([11, 13]), [f(1, 8, 2, 3)], dict(blocksize=2, mode=C(['DCR', 'CRD'])))
    emit('SpaceToDepth', 13, [f(1, 2, 4, 6)], dict(blocksize=2))
    emit('PRelu', C([7, 9, 16]), [f(2, 3, 4), C([f(3, 1), f(1), f(4), f(2, 3, 4)])], {})
    emit('Unique', 11, [x.round()], dict(sorted=R(0, 1), **C([{}, {'axis': 0}])), 4)
    for op in ['Exp', 'Log', 'Erf', 'Tanh', 'Sigmoid', 'Softplus', 'Softsign', 'Selu', 'Elu', 'HardSigmoid', 'Celu',
            'Gelu', 'Mish', 'HardSwish', 'Round', 'Ceil', 'Sin', 'Cos', 'Tan', 'Asinh', 'Atan', 'Sinh', 'Sign',
            'Reciprocal', 'Sqrt', 'LeakyRelu', 'ThresholdedRelu', 'Shrink']:
        emit(op, 20, [f(7)], {})

for _ in range(rounds):
    cases()
out.close()
