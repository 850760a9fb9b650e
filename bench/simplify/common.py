"""What the parts share: processes, the peers, models in ONNX Runtime."""
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime as ort

# Scripts of the peers. {} are the paths of the model and the result.
OPTIMIZER = '''import sys, onnx, onnxoptimizer as o
onnx.save(o.optimize(onnx.load(sys.argv[1]), o.get_fuse_and_elimination_passes(), fixed_point=True), sys.argv[2])'''
SCRIPT = '''import sys, onnx, onnxscript.optimizer as o, onnxscript.rewriter as r
onnx.save(r.rewrite(o.optimize(onnx.load(sys.argv[1]))), sys.argv[2])'''
RUNTIME = '''import sys, onnxruntime as ort
o = ort.SessionOptions()
o.log_severity_level, o.optimized_model_filepath = 4, sys.argv[2]
o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_{}
ort.InferenceSession(sys.argv[1], o, providers=['CPUExecutionProvider'])'''
PEERS = {
    'onnxslim': ['-m', 'onnxslim'], 'onnxsim': ['-m', 'onnxsim'], 'optimizer': ['-c', OPTIMIZER], 'onnxscript': ['-c', SCRIPT],
    'ort-basic': ['-c', RUNTIME.format('BASIC')], 'ort-extended': ['-c', RUNTIME.format('EXTENDED')], 'ort-all': ['-c', RUNTIME.format('ALL')],
}
TYPES = {'float': np.float32, 'double': np.float64, 'float16': np.float16, 'int64': np.int64, 'int32': np.int32, 'bool': bool, 'uint8': np.uint8,
         'int8': np.int8}


class Run:
    """A process that ended: wall seconds, seconds of CPU, most anonymous megabytes, exit code."""

    def __init__(self, cmd, timeout=400):
        self.memory, begun = 0.0, time.perf_counter()
        p = subprocess.Popen(cmd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        watch = threading.Thread(target=self.watch, args=(p.pid,), daemon=True)
        watch.start()
        kill = threading.Timer(timeout, p.kill)
        kill.start()
        _, status, used = os.wait4(p.pid, 0)
        self.wall, self.cpu = time.perf_counter() - begun, used.ru_utime + used.ru_stime
        self.timeout = not kill.is_alive()
        kill.cancel()
        p.returncode = self.code = os.waitstatus_to_exitcode(status)
        watch.join()

    def watch(self, pid):
        while True:
            try:
                with open(f'/proc/{pid}/status') as f:
                    lines = [l.split() for l in f if l.startswith(('RssAnon', 'State'))]
            except OSError:
                return
            if any(l[1] in 'ZX' for l in lines if l[0] == 'State:'):
                return
            self.memory = max([self.memory] + [int(l[1]) / 1024 for l in lines if l[0] == 'RssAnon:'])
            time.sleep(0.002)


class Bench:
    def __init__(self, tool, paths, tmp, rounds, quick, shared):
        self.tool, self.paths, self.tmp, self.rounds, self.quick = tool, paths, tmp, rounds, quick
        self.verdicts, self.missed = [], False
        fixed = os.path.join(shared, 'accept/inputs.json')
        self.fixed = json.load(open(fixed)) if os.path.exists(fixed) else {}
        self.cache = os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'onnxopt-bench/peers')
        os.makedirs(self.cache, exist_ok=True)
        self.judged = {}

    def versions(self):
        names = ('onnxslim', 'onnxsim', 'onnxoptimizer', 'onnxscript', 'onnxruntime')
        return ', '.join(f'{n} {version(n)}' for n in names)

    def bound(self, met, text):
        """Notes whether a bound is met."""
        self.missed |= not met
        self.verdicts.append(('met     ' if met else 'MISSED  ') + text)
        print(self.verdicts[-1], flush=True)

    def ours(self, path, level='-O2', verify='off'):
        """Our result for a model: its path, None if there is none."""
        out = f'{self.tmp}/{stem(path)}{level}.onnx'
        r = Run([self.tool, level, '-q', '--verify=' + verify, path, '-o', out])
        return out if r.code == 0 else None

    def command(self, peer, path, out):
        return [sys.executable] + PEERS[peer] + [path, out]

    def peer(self, peer, path):
        """A peer's result for a model: its path, None if there is none. They are kept, by the model's and the peer's contents."""
        h = hashlib.sha256(open(path, 'rb').read() + (peer + self.versions()).encode()).hexdigest()[:24]
        kept = f'{self.cache}/{h}.onnx'
        if not os.path.exists(kept) and not os.path.exists(kept + '.none'):
            out = f'{self.tmp}/peer.onnx'
            r = Run(self.command(peer, path, out), 600)
            if r.code == 0 and os.path.exists(out):
                shutil.move(out, kept)
            else:
                open(kept + '.none', 'w').close()
        return kept if os.path.exists(kept) else None

    def good(self, peer, path):
        """A peer's result for a model if it runs and computes the same, else None. What only the checker refuses is let pass."""
        key = (peer, path)
        if key not in self.judged:
            out = self.peer(peer, path)
            self.judged[key] = out if out and not self.wrong(path, out, 1e-2, False) else None
        return self.judged[key]

    def feeds(self, s, name):
        """Inputs for a session, as the acceptance checks make them."""
        r, f = np.random.default_rng(0), {}
        for i in s.get_inputs():
            dims = self.fixed.get(name, {}).get(i.name)
            if dims is None:
                dims = [d if isinstance(d, int) and d > 0 else (1 if k == 0 else 64) for k, d in enumerate(i.shape)]
            t = TYPES[i.type[7:-1]]
            if i.name == 'sr':
                f[i.name] = np.array(16000, np.int64)
            elif t is bool or np.issubdtype(t, np.integer):
                f[i.name] = r.integers(0, 2, dims).astype(t)
            else:
                f[i.name] = r.standard_normal(dims).astype(t)
        return f

    def wrong(self, path, out, tolerance, check=True):
        """Why a result is no model that computes the same, '' if it is one."""
        name = stem(path)
        try:
            if check:
                onnx.checker.check_model(out, full_check=True)
            a, b = session(path, False), session(out, False)
        except Exception as e:
            return str(e).strip().split('\n')[0][:110] or type(e).__name__
        try:
            if [i.name for i in a.get_inputs()] != [i.name for i in b.get_inputs()]:
                return 'the inputs have other names'
            f = self.feeds(a, name)
            want = a.run(None, f)
        except Exception:
            return ''  # the original does not run
        try:
            d = drift(want, b.run(None, f))
        except Exception as e:
            return str(e).strip().split('\n')[0][:110]
        if any('float16' in i.type for i in a.get_inputs() + a.get_outputs()):
            tolerance = max(tolerance, 5e-3)
        if d <= tolerance:
            return ''
        own = drift(want, session(path).run(None, f))
        return f'differs by {d:.2g}; ONNX Runtime\'s own optimization of the original by {own:.2g}'


def stem(path):
    return os.path.basename(path)[:-5]


def custom(m):
    """Whether a model has operators that the standard does not define."""
    return any(o.domain not in ('', 'ai.onnx', 'ai.onnx.ml') for o in m.opset_import if any(n.domain == o.domain for n in walk(m.graph)))


def walk(graph):
    for n in graph.node:
        yield n
        for a in n.attribute:
            for g in [a.g] if a.type == a.GRAPH else a.graphs:
                yield from walk(g)


def count(path):
    """Nodes without Constant and without ConstantOfShape of a constant, those of subgraphs and functions included."""
    m = onnx.load(path, load_external_data=False)

    def graph(g, known):
        known, n = set(known) | {i.name for i in g.initializer}, 0
        for x in g.node:
            if x.op_type == 'Constant':
                known.update(x.output)
                continue
            n += not (x.op_type == 'ConstantOfShape' and x.input[0] in known)
            for a in x.attribute:
                n += sum(graph(s, known) for s in ([a.g] if a.type == a.GRAPH else a.graphs))
        return n

    return graph(m.graph, ()) + sum(len(f.node) for f in m.functions)


def session(path, optimized=True):
    o = ort.SessionOptions()
    o.log_severity_level, o.intra_op_num_threads = 4, 1
    if not optimized:
        o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, o, providers=['CPUExecutionProvider'])


def drift(want, got):
    """The largest difference of outputs, by the largest magnitude of the output."""
    d = 0.0
    for a, b in zip(want, got):
        if isinstance(a, (list, dict)):
            continue
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape or a.dtype != b.dtype:
            return math.inf
        if a.dtype.kind != 'f':
            d = max(d, 0.0 if np.array_equal(a, b) else 1.0)
        elif a.size:
            a, b = a.astype(np.float64), b.astype(np.float64)
            if not np.array_equal(np.isnan(a), np.isnan(b)):
                return math.inf
            top = float(np.nanmax(np.abs(a))) if not np.isnan(a).all() else 0.0
            with np.errstate(invalid='ignore'):
                e = np.abs(a - b)
            e = e[~np.isnan(e)]
            d = max(d, float(e.max()) / max(top, 1e-6) if e.size else 0.0)
    return d


def geo(x):
    x = list(x)
    return math.exp(sum(map(math.log, x)) / len(x)) if x else math.nan
