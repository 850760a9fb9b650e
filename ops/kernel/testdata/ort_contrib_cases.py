"""Makes ort-contrib-cases.tar.gz: single-node models of operators of domain com.microsoft, with attributes, shapes and omitted
operands drawn at random, and what ONNX Runtime (without optimizations) computes for them.

usage: ort_contrib_cases.py 1 10 ort-contrib-cases.tar.gz [refused]      (SEED ROUNDS OUT; needs numpy, onnx and onnxruntime; made with
onnx 1.23.2 and onnxruntime 1.32.0)
"""
import random
import sys

import numpy as np
from onnx import helper as h

from ort_writer import Writer

seed, rounds, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
random.seed(seed)
rng = np.random.default_rng(seed)
R, C = random.randint, random.choice
out = Writer(path)


def f(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def q(d, *shape):
    """Random integers of all values."""
    i = np.iinfo(d)
    return rng.integers(i.min, i.max + 1, shape).astype(d)


def i32(*v):
    return np.array(v, np.int32)


def s(lo=0.01, hi=0.1):
    """A random scale."""
    return np.float32(rng.uniform(lo, hi))


def z(d):
    """A random zero point."""
    return np.array(R(100, 150) if d == np.uint8 else R(-20, 20), d)


def maybe(x):
    return x if R(0, 1) else None


def mask_of(*shape):
    """A mask that shows a key to every query: without one, what remains of the differences depends on the order of the sums."""
    m = rng.integers(0, 2, shape).astype(np.int32)
    m[..., 0] = 1
    return m


def emit(op, ins, nout=1, domain="com.microsoft", constants=(), crop=None, **attrs):
    """Adds a case, unless ONNX Runtime refuses the model. nout may be a list that says which results the node has."""
    while ins and ins[-1] is None:
        ins = ins[:-1]
    outs = [f"y{k}" if w else "" for k, w in enumerate(nout if isinstance(nout, list) else [1] * nout)]
    out.emit(op, op, [h.make_opsetid("", 17), h.make_opsetid("com.microsoft", 1)], 10, ins, outs, domain, constants, crop,
             **{k: v for k, v in attrs.items() if v is not None})


def fused():
    act, params = C([("", None), ("Relu", None), ("Tanh", None), ("Sigmoid", None), ("LeakyRelu", [0.2]),
                     ("Clip", [-0.5, 1.5]), ("HardSigmoid", [0.3, 0.4])])
    g = R(1, 2)
    k = R(1, 3)
    x, w, b = f(R(1, 2), 2 * g, 6, 5), f(3 * g, 2, k, k), maybe(f(3 * g))
    emit("FusedConv", [x, w, b, f(x.shape[0], 3 * g, 7 - k, 6 - k) if R(0, 1) else None], group=g,
         activation=act or None, activation_params=params)
    act, al, be = C([("Relu", None, None), ("Tanh", None, None), ("LeakyRelu", 0.3, None), ("Elu", 0.7, None),
                     ("HardSigmoid", 0.3, 0.6), ("Softplus", None, None), ("Softsign", None, None), ("Sigmoid", None, None)])
    ta, tb = R(0, 1), R(0, 1)
    a, b = f(3, 4), f(4, 5)
    emit("FusedGemm", [a.T if ta else a, b.T if tb else b, C([None, f(5), f(3, 1), f(3, 5)])], transA=ta, transB=tb, alpha=0.5,
         beta=1.5, activation=act, activation_alpha=al, activation_beta=be)
    ta, tb, ba, bb = R(0, 1), R(0, 1), R(0, 1), R(0, 1)
    a = f(2, 3, 4, 5) if not ta else f(2, 3, 5, 4)
    b = f(2, 3, 5, 6) if not tb else f(2, 3, 6, 5)
    a = a.transpose(2, 0, 1, 3) if ba else a
    b = b.transpose(2, 0, 1, 3) if bb else b
    emit("FusedMatMul", [a, b], alpha=0.25, transA=ta, transB=tb, transBatchA=ba, transBatchB=bb)
    emit("FusedMatMul", [f(3, 4), f(2, 4, 5)], alpha=2.0)
    x = f(2, 3, R(1, 9)) * 3
    emit("Gelu", [x])
    emit("BiasGelu", [x, f(x.shape[-1])])
    emit("FastGelu", [np.maximum(x, -2.5), maybe(np.abs(f(x.shape[-1])))])  # less has no digits left in float32 arithmetic
    emit("QuickGelu", [np.maximum(x, -3)], alpha=C([None, 1.0, 1.3]))


def norms():
    d = C([3, 8, 16])
    x = f(2, 4, d)
    sk = C([f(2, 4, d), f(1, 4, d), f(4, d)])
    emit("SkipLayerNormalization", [x, sk, f(d), maybe(f(d)), maybe(f(d))], C([1, [1, 0, 0, 1]]), epsilon=C([None, 1e-5]))
    emit("SkipSimplifiedLayerNormalization", [x, sk, f(d), maybe(f(d))], C([1, [1, 0, 0, 1]]), epsilon=C([None, 1e-5]))
    emit("SimplifiedLayerNormalization", [x, f(d)], C([1, 2]), domain="", axis=-1, epsilon=C([None, 1e-6]), stash_type=1)
    B, S = R(1, 3), R(1, 5)
    seg = R(0, 1)
    ids = rng.integers(0, 7, (B, S)).astype(np.int32)
    emit("EmbedLayerNormalization", [ids, rng.integers(0, 2, (B, S)).astype(np.int32) if seg else None, f(7, d), f(6, d),
         f(2, d) if seg else None, f(d), f(d), rng.integers(0, 2, (B, S)).astype(np.int32) if R(0, 1) else None,
         C([None, rng.integers(0, 6, (B, S)).astype(np.int32), rng.integers(0, 6, (1, S)).astype(np.int32)])],
         C([2, 3]), epsilon=C([None, 1e-5]))


def attention():
    B, S, N, H = R(1, 3), R(1, 5), R(1, 3), C([2, 4, 8])
    P = C([0, 0, 3])
    T, D = S + P, N * H
    mask = C([None, None, i32(*[R(1, T) for _ in range(B)]), mask_of(B, T),
              mask_of(B, S, T),
              i32(*[R(1, T) for _ in range(B)], *[0 for _ in range(B)])])
    kw = dict(num_heads=N, unidirectional=C([None, 0, 1]), scale=C([None, 0.3]), mask_filter_value=C([None, -5.0]))
    bias = C([None, f(B, N, S, T), f(1, N, S, T), f(B, 1, S, T), f(1, 1, S, T)])
    emit("Attention", [f(B, S, 6), f(6, 3 * D), f(3 * D), mask, f(2, B, N, P, H) if P else None, bias], 2 if P else C([1, 2]), **kw)
    v = C([H, 5]) * N
    emit("Attention", [f(B, S, 6), f(6, 2 * D + v), f(2 * D + v), None, None], 1, qkv_hidden_sizes=[D, D, v], **kw)
    L = C([S, S, 4])
    if P:
        L = S
    T = L + P
    mask = C([None, None, i32(*[R(1, L) for _ in range(B)]), mask_of(B, T),
              mask_of(B, S, T)])
    bias = C([None, f(B, N, S, T), f(1, N, S, T), f(1, 1, S, T)])
    hv = H if P else C([H, 3])
    emit("MultiHeadAttention", [f(B, S, D), f(B, L, D), f(B, L, N * hv), maybe(f(2 * D + N * hv)), mask, bias,
         f(B, N, P, H) if P else None, f(B, N, P, hv) if P else None], 3 if P else C([1, 3]),
         **dict(kw, unidirectional=kw["unidirectional"] if L == S else 0))
    emit("MultiHeadAttention", [f(B, S, D), f(B, N, L, H), f(B, N, L, H), None, None, maybe(f(1, N, S, L))], 1, num_heads=N)
    emit("MultiHeadAttention", [f(B, S, D), f(B, L, N, 2, H)], 1, num_heads=N)
    emit("MultiHeadAttention", [f(B, S, N, 3, H), None, None, maybe(f(3 * D))], 1, num_heads=N)
    M = 12
    rd = C([None, None, H])
    inter = R(0, 1)
    pos = C([np.array([R(0, 4)], np.int64), rng.integers(0, M, (B, S)).astype(np.int64)])
    emit("RotaryEmbedding", [f(B, S, D), pos, f(M, H // 2), f(M, H // 2)], 1, interleaved=inter)
    emit("RotaryEmbedding", [f(B, N, S, 2 * H), pos, f(M, H // 2), f(M, H // 2)], 1, interleaved=inter, num_heads=N,
         rotary_embedding_dim=H)
    emit("RotaryEmbedding", [f(B, N, S, H), pos, f(M, H // 2), f(M, H // 2)], 1, interleaved=inter, scale=C([None, 1.0]))


def gqa():
    B, S, K, H = R(1, 2), R(1, 4), R(1, 2), C([8, 16])
    N = K * R(1, 3)
    P = C([0, 0, 3, 5])
    T = S + P
    buf = P + C([0, 0, 4]) if P else 0
    past = [f(B, K, buf, H), f(B, K, buf, H)] if P else [None, None]
    lens = [T - 1] * B
    rot = R(0, 1)
    packed = R(0, 3) == 0
    qkv = [f(B, S, (N + 2 * K) * H), None, None] if packed else [f(B, S, N * H), f(B, S, K * H), f(B, S, K * H)]
    cache = [f(20, H // 2), f(20, H // 2)] if rot else [None, None]
    pos = maybe((np.arange(S)[None, :] + P + np.zeros((B, 1))).astype(np.int64)) if rot else None
    present = max(T, buf)
    bias = C([None, None, f(B, N, S, T), f(1, N, S, T), f(1, 1, S, T)])
    qk = C([0, 0, 1, 2])
    emit("GroupQueryAttention", qkv + past + [i32(*lens), np.array(T, np.int32)] + cache + [pos, bias, C([None, None, f(N)])],
         4 if qk else 3, num_heads=N, kv_num_heads=K, do_rotary=rot, rotary_interleaved=R(0, 1), scale=C([None, 0.2]),
         softcap=C([None, 2.0]), local_window_size=C([None, None, 1, 2, 3]), smooth_softmax=C([None, None, 1]),
         qk_output=qk or None)
    if P and S == 1:
        lens = [R(1, T - 1) for _ in range(B)]
        lens[0] = T - 1
        emit("GroupQueryAttention", qkv + past + [i32(*lens), np.array(T, np.int32)] + cache, 3, num_heads=N, kv_num_heads=K,
             do_rotary=rot)


def nbits():
    bits, block = C([4, 4, 8, 2]), C([16, 32])
    K, N = C([16, 32, 40, 64]), R(1, 6)
    kb = -(-K // block)
    zp = C([None, q(np.uint8, N * (-(-kb * bits // 8))), (f(N, kb) + 3).astype(np.float32)])
    emit("MatMulNBits", [f(*C([(3,), (2, 3)]), K), q(np.uint8, N, kb, block * bits // 8), f(N * kb) * 0.1, zp, None,
         maybe(f(N))], K=K, N=N, bits=bits, block_size=block)
    bits = C([4, 8])
    rows, cols = R(3, 6), C([32, 64])
    kb = cols // block
    idx = rng.integers(-rows, rows, C([(3,), (2, 2)])).astype(C([np.int32, np.int64]))
    emit("GatherBlockQuantized", [q(np.uint8, rows, cols * bits // 8), idx, f(rows, kb),
         maybe(q(np.uint8, rows, -(-kb * bits // 8)))], bits=bits, block_size=block, quantize_axis=1, gather_axis=0)


def qmatmul():
    d, da = C([np.int8, np.uint8]), C([np.uint8, np.int8])
    k, n = R(1, 9), R(1, 6)
    pc = R(0, 1)
    sc = np.abs(f(n)) * 0.1 + 0.01 if pc else s()
    zp = q(d, n) if pc else z(d)
    a = f(*C([(3,), (2, 3)]), k)
    emit("DynamicQuantizeMatMul", [a, q(d, k, n), sc, maybe(zp), maybe(f(n))])
    emit("MatMulIntegerToFloat", [q(da, 2, k), q(d, k, n), s(), sc, maybe(z(da)), maybe(zp), maybe(f(n))])
    ta, tb = R(0, 1), R(0, 1)
    x, y = q(da, 3, k), q(d, k, n)
    c = C([None, rng.integers(-999, 999, (n,)).astype(np.int32), rng.integers(-999, 999, (3, n)).astype(np.int32)])
    quant = R(0, 1)
    emit("QGemm", [x.T if ta else x, s(), z(da), y.T if tb else y, sc, zp, c, s(0.5, 2) if quant else None,
         z(da) if quant else None], transA=ta, transB=tb, alpha=C([None, 0.5]))
    D, I, H = C([1, 1, 2]), R(1, 5), R(1, 4)
    S, B = R(1, 4), C([1, 1, 1, 2])
    pc = R(0, 1)
    ps = (D, 4 * H) if pc else (D,)
    emit("DynamicQuantizeLSTM", [f(S, B, I), q(d, D, I, 4 * H), q(d, D, H, 4 * H), maybe(f(D, 8 * H)),
         i32(*[S] * B) if R(0, 1) else None, maybe(f(D, B, H)), maybe(f(D, B, H)), maybe(f(D, 3 * H)),
         rng.uniform(0.005, 0.02, ps).astype(np.float32), np.zeros(ps, d), rng.uniform(0.005, 0.02, ps).astype(np.float32),
         np.zeros(ps, d)], C([1, 3]), hidden_size=H, direction="bidirectional" if D == 2 else C(["forward", "reverse"]))


def qlinear():
    d = C([np.uint8, np.int8])
    n = R(1, 30)
    for op in ["QLinearAdd", "QLinearMul"]:
        emit(op, [q(d, 2, n), s(), z(d), C([q(d, 2, n), q(d, n), q(d, 1), q(d, 2, 1)]), s(), z(d), s(0.05, 0.2), z(d)])
    x = q(d, 2, 3, n)
    emit("QLinearSigmoid", [x, s(), z(d), np.float32(1 / 256), np.array(0 if d == np.uint8 else -128, d)])
    emit("QLinearLeakyRelu", [x, s(), z(d), s(), z(d)], alpha=0.2)
    emit("QLinearSoftmax", [x, s(), z(d), np.float32(1 / 256), np.array(0 if d == np.uint8 else -128, d)],
         opset=C([12, 13]), axis=C([-1, 1, 2]))
    emit("QLinearConcat", [s(), z(d), x, s(), z(d), q(d, 2, R(1, 3), n), s(), z(d)], axis=1)
    sc, zp = s(), z(d)
    emit("QLinearConcat", [sc, zp, x, sc, zp, q(d, 2, 3, n), s(), z(d), q(d, 2, 3, n), sc, zp], axis=0)
    emit("QLinearWhere", [rng.integers(0, 2, C([(2, 3, n), (3, 1), (n,)])).astype(bool), x, s(), z(d),
         q(d, *C([(2, 3, n), (1,), (n,)])), s(), z(d), s(), z(d)])
    last = R(0, 1)
    x = q(d, 1, 7, 6, 3) if last else q(d, 1, 3, 7, 6)
    pads = C([[0, 0, 0, 0], [1, 0, 0, 1], [1, 1, 1, 1]])
    emit("QLinearAveragePool", [x, s(), z(d), s(), z(d)], kernel_shape=C([[2, 2], [3, 2]]), strides=C([None, [2, 1]]), pads=pads,
         channels_last=last, count_include_pad=R(0, 1), ceil_mode=C([None, None, 1]))
    emit("QLinearGlobalAveragePool", [x, s(), z(d), s(0.02, 0.1), z(d)], channels_last=last)
    x = f(2, 4, 5) * 3
    dd = C([np.uint8, np.int8, np.uint16, np.int16])
    hi = 0.1 if np.dtype(dd).itemsize == 1 else 0.001
    emit("QuantizeLinear", [x, s(hi / 10, hi), np.array(R(1, 9), dd)])
    emit("QuantizeLinear", [x, rng.uniform(hi / 10, hi, 4).astype(np.float32), q(dd, 4)], axis=1)
    emit("DequantizeLinear", [q(dd, 2, 4, 5), s(), maybe(np.array(R(1, 9), dd))])
    emit("DequantizeLinear", [q(dd, 2, 4, 5), rng.uniform(0.01, 0.1, 5).astype(np.float32), q(dd, 5)], axis=2)


def caches():
    """Caches that are quantized, slide, or are buffers; queries that are padding."""
    K, H = R(1, 2), C([16, 32])
    N = K * R(1, 3)
    quant, bits = C(["NONE", "PER_TENSOR", "PER_CHANNEL"]), C([4, 8])
    d, width = (np.float32, H) if quant == "NONE" else (np.int8, H) if bits == 8 else (np.uint8, H // 2)

    def cache(B, rows):
        return [f(B, K, rows, H) if quant == "NONE" else q(d, B, K, rows, width) for _ in range(2)]

    shape = (1,) if quant == "PER_TENSOR" else (1, K, 1, H)
    scales = [None, None] if quant == "NONE" else [rng.uniform(0.02, 0.1, shape).astype(np.float32) * (1 if bits == 8 else 4) for _ in range(2)]
    kw = dict(num_heads=N, kv_num_heads=K, softcap=C([None, 2.0]), smooth_softmax=C([None, None, 1]))
    if quant != "NONE":
        kw.update(k_quant_type=quant, v_quant_type=quant, kv_cache_bit_width=bits)
    rot = R(0, 1)
    turn = [f(40, H // 2), f(40, H // 2)] if rot else [None, None]
    kw.update(do_rotary=rot)

    def qkv(B, S):
        return [f(B, S, N * H), f(B, S, K * H), f(B, S, K * H)]

    B, S, P = R(1, 2), R(1, 4), C([0, 3, 5])
    if P:
        S = 1 if B > 1 else S
    T = P + S
    rows = P + (C([0, 2]) if not P else C([0, S, S + 2]))
    bias, qk = C([None, f(B, N, S, T), f(1, 1, S, T)]), C([None, None, 1])
    emit("GroupQueryAttention", qkv(B, S) + cache(B, rows) + [i32(*[T - 1] * B), np.array(T, np.int32)] + turn + [None, bias, None] + scales,
         4 if qk else 3, local_window_size=C([None, 2]), qk_output=qk, **kw)
    if rows >= T:  # of what is behind the last token, nothing is said
        emit("GroupQueryAttention", qkv(B, S) + cache(B, rows) + [i32(*[T - 1] * B), np.array(T, np.int32)] + turn + [None, None, None] + scales,
             3, crop={1: (B, K, T), 2: (B, K, T)}, **kw)
    # Padding: the first entry has all its queries, so that the rows of the others can be cut off after it.
    S = R(2, 4)
    n, P = R(0, S), R(1, 3)
    T = P + n
    emit("GroupQueryAttention", qkv(1, S) + cache(1, P + S + 1) + [i32(T - 1), np.array(max(T, S) + R(0, 2), np.int32)] + turn + [None, None, None] + scales
         + [None, None, i32(n)], 3, crop={0: (1, n), 1: (1, K, T), 2: (1, K, T)}, **kw)
    lens = [R(S, 6), R(S, 6)]
    emit("GroupQueryAttention", qkv(2, S) + cache(2, 12) + [i32(*[t - 1 for t in lens]), np.array(8, np.int32)] + turn + [None, None, None] + scales
         + [None, None, i32(S, S)], 3, crop={1: (2, K, min(lens)), 2: (2, K, min(lens))}, **kw)
    # Sliding caches hold the last tokens; what is behind them is not specified.
    W = R(1, 4)
    cap = W + C([0, 0, 1, 3])
    P, S = R(0, 9), R(1, 6)
    T = P + S
    kept = T if T <= cap else T - (cap - W + 1) * -(-(T - cap) // (cap - W + 1))
    if P:
        emit("GroupQueryAttention", qkv(1, S) + cache(1, cap) + [i32(T - 1), np.array(T, np.int32)] + turn + [None, C([None, f(1, N, S, T)]), None]
             + scales, 3, crop={1: (1, K, kept), 2: (1, K, kept)}, sliding_window_cache=1, local_window_size=W, **kw)
    # Buffers of MultiHeadAttention.
    B, S, N, H, L = R(1, 2), R(1, 3), R(1, 2), C([4, 8]), R(0, 3)
    emit("MultiHeadAttention", [f(B, S, N * H), f(B, S, N * H), f(B, S, N * H), maybe(f(3 * N * H)), None, C([None, f(B, N, S, L + S)]),
                                f(B, N, L + S + 2, H), f(B, N, L + S + 2, H), i32(L)], 3, num_heads=N, unidirectional=R(0, 1))
    emit("MultiHeadAttention", [f(B, S, N * H), f(B, S, N * H), f(B, S, N * H), None, i32(*[R(1, S) for _ in range(B)], *[9] * (2 * B + 2))], 1,
         num_heads=N)


def groups():
    """MatMulNBits with groups, with A in 8 bits, without weights."""
    bits, block = C([4, 8, 2]), C([16, 32, 64])
    K, N = C([64, 128, 72]), C([3, 8])
    kb = -(-K // block)
    zp = C([None, (f(N, kb) + 3).astype(np.float32)])
    emit("MatMulNBits", [f(2, K), q(np.uint8, N, kb, block // 2), f(N, kb) * 0.1, zp, rng.integers(0, kb, K).astype(np.int32), maybe(f(N))], K=K, N=N, bits=4,
         block_size=block)
    w, sc = q(np.uint8, N, kb, block * bits // 8), f(N, kb) * 0.1
    x = f(*C([(3,), (2, 3)]), K)
    zp = C([None, q(np.uint8, N, -(-kb * bits // 8))])
    emit("MatMulNBits", [x, w, sc, zp], constants=(1, 2, 3) if zp is not None else (1, 2), K=K, N=N, bits=bits, block_size=block,
         accuracy_level=C([1, 2, 3, 4, 4, 4]))
    emit("MatMulNBits", [x, w[:, :0] if R(0, 1) else w[:0], sc, None, None, maybe(f(N))], K=K, N=N, bits=bits, block_size=block)


for _ in range(rounds):
    for part in [fused, norms, attention, gqa, nbits, qmatmul, qlinear]:
        part()
for _ in range(2 * rounds):  # behind the others, which stay as they were
    for part in [caches, groups]:
        part()
out.close()
if len(sys.argv) > 4:
    for k, v in out.refused.items():
        print(k, *sorted(set(v)), sep="\n   ")
