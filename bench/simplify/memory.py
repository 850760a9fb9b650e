"""Part memory: the most anonymous memory of whole processes."""
import os

import onnx
from onnx import numpy_helper

import generate
from common import Run, stem

MB = 1 << 20


def payloads(path):
    """Bytes of the tensors of a file by their contents: initializers and attributes, subgraphs included."""
    r = {}

    def tensor(t):
        if t.data_location != t.EXTERNAL:
            data = numpy_helper.to_array(t).tobytes() if t.data_type != t.STRING else b''
            r[hash(data)] = len(data)

    def graph(g):
        for t in g.initializer:
            tensor(t)
        for n in g.node:
            for a in n.attribute:
                if a.type == a.TENSOR:
                    tensor(a.t)
                for s in [a.g] if a.type == a.GRAPH else a.graphs:
                    graph(s)

    graph(onnx.load(path, load_external_data=False).graph)
    return r


def memory(b):
    big = b.tmp + '/large.onnx'
    computed = {big: generate.large(big)}
    out = b.tmp + '/memory.onnx'
    print(f'{"model":26s}{"file MB":>9s}{"computed":>9s}{"bound":>8s}{"ours":>8s}{"onnxslim":>10s}{"onnxsim":>10s}   (MB)')
    over, least = [], 0.0
    for path in b.paths + [big]:
        size = sum(os.path.getsize(p) for p in (path, path + '.data') if os.path.exists(p)) / MB
        ours = max(Run([b.tool, '-q', '--verify=off', path, '-o', out]).memory for _ in range(3))
        if path not in computed:
            known = payloads(path)
            computed[path] = max((n for h, n in payloads(out).items() if h not in known), default=0)
        bound = 64 + 1.2 * computed[path] / MB
        peers = [Run(b.command(p, path, out)) for p in ('onnxslim', 'onnxsim')]
        cells = ''.join(f'{r.memory:9.0f}{" " if r.code == 0 else "!"}' for r in peers)
        print(f'{stem(path):26s}{size:9.1f}{computed[path] / MB:9.1f}{bound:8.1f}{ours:8.1f}{cells}', flush=True)
        least = max(least, ours / bound)
        if ours > bound:
            over.append(f'{stem(path)} ({ours:.0f} of {bound:.0f} MB)')
        for p in (out, out + '.data'):
            if os.path.exists(p):
                os.remove(p)
    n = len(b.paths) + 1
    b.bound(not over, f'memory: at most 64 MB + 1.2 x the largest tensor computed on {n - len(over)} of {n} models, at most {100 * least:.0f} % of the bound'
            + ('; not on ' + ', '.join(over) if over else ''))
