"""Sets the .tflite files of onnxopt beside those of onnx2tf: operators, time of the whole process, difference to ONNX Runtime.
peer.py ONNXOPT MODELS [WORD...]"""
import glob
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime

SIZES = {}
PATHED = {**os.environ, 'PATH': os.path.dirname(sys.executable) + os.pathsep + os.environ['PATH']}  # onnx2tf calls onnxsim
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, '..', '..', 'targets', 'targettest', 'sizes.tsv')) as f:
    for line in f:
        if not line.startswith('#'):
            name, sizes = line.rstrip('\n').split('\t')
            SIZES[name] = sizes
RUN = r'''
import json, sys, numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
m = Interpreter(model_path=sys.argv[1], num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
m.allocate_tensors()
feeds = [v for _, v in sorted(np.load(sys.argv[2]).items())]
names = json.loads(sys.argv[4])
ports = m.get_input_details()
by_name = {p['name'].removeprefix('serving_default_').split(':')[0]: p for p in ports}
for i, (n, a) in enumerate(zip(names, feeds)):
    p = by_name.get(n) or ports[i]
    s = list(p['shape'])
    if list(a.shape) != s and a.ndim >= 3 and [a.shape[0], *a.shape[2:], a.shape[1]] == s:
        a = np.moveaxis(a, 1, -1)
    m.set_tensor(p['index'], np.ascontiguousarray(a.astype(p['dtype'])))
m.invoke()
np.savez(sys.argv[3], *[m.get_tensor(p['index']) for p in m.get_output_details()])
print(len(m._get_ops_details()))
'''


def generated(session):
    rng = np.random.default_rng(0)
    feeds = {}
    for i in session.get_inputs():
        shape = [d if isinstance(d, int) else 1 for d in i.shape]
        kind = i.type[7:-1]
        feeds[i.name] = rng.random(shape).astype(np.float16 if kind == 'float16' else np.float32) if 'float' in kind else np.ones(shape, {'int64': np.int64, 'int32': np.int32, 'uint8': np.uint8, 'int8': np.int8, 'bool': bool}[kind])
    return feeds


def difference(want, got):
    """The largest relative difference of outputs, each beside the one it is nearest to, whatever its layout."""
    worst = 0.0
    for a in want:
        a = a.astype(np.float64)
        best = np.inf
        for b in got:
            b = b.astype(np.float64)
            for c in [b] + ([np.moveaxis(b, -1, 1)] if b.ndim >= 3 else []):
                if c.shape == a.shape:
                    best = min(best, np.abs(a - c).max() / max(np.abs(a).max(), 1e-6))
        worst = max(worst, best)
    return worst


def outputs(path, feeds, folder):
    import json
    np.savez(f'{folder}/in.npz', **{f'{i:04}': v for i, v in enumerate(feeds.values())})
    r = subprocess.run([sys.executable, '-c', RUN, path, f'{folder}/in.npz', f'{folder}/out.npz', json.dumps(list(feeds))], capture_output=True, text=True, timeout=300)
    if r.returncode:
        raise RuntimeError((r.stderr.strip().split('\n') or ['it does not run'])[-1][:80])
    with np.load(f'{folder}/out.npz') as z:
        return int(r.stdout.split()[-1]), [z[k] for k in z.files]


def main():
    tool, models, words = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3:]
    print(f'{"model":<28} {"ours: ops":>10} {"s":>7} {"difference":>11}   {"onnx2tf: ops":>12} {"s":>7} {"difference":>11}')
    for path in sorted(glob.glob(f'{models}/*.onnx')):
        name = os.path.basename(path)[:-5]
        if words and not any(w in name for w in words):
            continue
        with tempfile.TemporaryDirectory() as folder:
            static = f'{folder}/{name}.onnx'
            pipeline = f'set-shape{{{SIZES[name]}}}' if name in SIZES else 'freeze-defaults{all=true}'
            subprocess.run([tool, '-q', '--verify=off', '-p', pipeline, path, '-o', static], check=True)
            plain = onnxruntime.SessionOptions()  # its own optimizations move some models by 5e-4
            plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            session = onnxruntime.InferenceSession(static, plain, providers=['CPUExecutionProvider'])
            feeds = generated(session)
            try:
                want = session.run(None, feeds)
            except Exception as e:
                print(f'{name:<28} ONNX Runtime does not run it: {str(e)[:60]}')
                continue
            # onnx2tf would load this from GitHub; it serves to guess layouts only
            np.save(f'{folder}/calibration_image_sample_data_20x128x128x3_float32.npy', np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32))
            cells = []
            for command, result in (
                ([tool, '-q', '--verify=off', '--target', 'tflite{layout=keep}', static, '-o', f'{folder}/ours.tflite'], f'{folder}/ours.tflite'),
                ([os.path.join(os.path.dirname(sys.executable), 'onnx2tf'), '-i', static, '-o', f'{folder}/peer', '-b', '1', '-kat', *feeds], f'{folder}/peer/{name}_float32.tflite'),
            ):
                begun = time.perf_counter()
                try:
                    r = subprocess.run(command, capture_output=True, text=True, timeout=600, env=PATHED, cwd=folder)
                    took = time.perf_counter() - begun
                    if r.returncode or not os.path.exists(result):
                        said = [l for l in (r.stdout + r.stderr).strip().split('\n') if l.strip()]
                        print(f'{name}: {os.path.basename(command[0])}: {next((l for l in said if "ERROR" in l), said[-1] if said else "no file")[:200]}', file=sys.stderr)
                        cells.append(f'{"refused":>10} {took:>7.2f} {"":>11}')
                        continue
                    ops, got = outputs(result, feeds, folder)
                    cells.append(f'{ops:>10} {took:>7.2f} {difference(want, got):>11.1e}')
                except Exception as e:
                    print(f'{name}: {e}', file=sys.stderr)
                    cells.append(f'{type(e).__name__[:10]:>10} {time.perf_counter() - begun:>7.2f} {"":>11}')
            print(f'{name:<28} {cells[0]}   {cells[1]:>32}', flush=True)


main()
