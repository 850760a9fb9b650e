"""measure.py BUILD MODEL...: see run. Exits 1 where outputs are wrong or a model does not run; figures that miss a target are marked."""
import json, math, os, platform, subprocess, sys, time
import numpy as np
import onnx
import onnxruntime as ort
import reference

HERE = os.path.dirname(os.path.abspath(__file__))

SECONDS = float(os.environ.get('SECONDS_EACH', '4'))
THREADS = int(os.environ.get('THREADS', '1'))
LARGE = 50e6  # MACs from which on a second thread has to pay
RUNS = 5  # whose memory is measured
SHAPES = os.path.join(HERE, '../../../shared/accept/inputs.json')
SHAPES = json.load(open(SHAPES)) if os.path.exists(SHAPES) else {}
KINDS = {'float': np.float32, 'double': np.float64, 'float16': np.float16, 'int64': np.int64, 'int32': np.int32, 'bool': bool,
         'uint8': np.uint8, 'int8': np.int8}
SMALL = 1e5  # MACs below which a time says little about kernels
CONVOLUTIONS, RECURRENT = {'Conv', 'ConvInteger', 'QLinearConv', 'ConvTranspose'}, {'LSTM', 'GRU', 'RNN'}


def feeds(session, name):
    """Random inputs; shapes are those of inputs.json where a dimension is free."""
    r, f = np.random.default_rng(0), {}
    for i in session.get_inputs():
        dims = SHAPES.get(name, {}).get(i.name) or [d if isinstance(d, int) and d > 0 else (1 if k == 0 else 64) for k, d in enumerate(i.shape)]
        t = KINDS[i.type[7:-1]]
        if i.name == 'sr':
            f[i.name] = np.array(16000, np.int64)
        elif t is bool or np.issubdtype(t, np.integer):
            f[i.name] = r.integers(0, 2, dims).astype(t)
        else:
            f[i.name] = r.standard_normal(dims).astype(t)
    return f


def session(model, threads):
    o = ort.SessionOptions()
    o.log_severity_level, o.intra_op_num_threads = 4, threads
    return ort.InferenceSession(model, o, providers=['CPUExecutionProvider'])


class Ours:
    """The embedded engine in a process of its own."""

    def __init__(self, build, threads, out):
        self.p = subprocess.Popen([f'{build}/engine', 'serve', f'{build}/model.onnx', f'{build}/in.npz', out, str(threads)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
        if self.p.stdout.readline().strip() != 'ready':
            raise RuntimeError(self.p.stderr.read().strip())

    def time(self):
        self.p.stdin.write('\n')
        return int(self.p.stdout.readline()) / 1e6

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.stdin.close()
        self.p.wait()


def timer(s, f):
    def run():
        t = time.perf_counter()
        s.run(None, f)
        return (time.perf_counter() - t) * 1e3
    return run


def interleaved(a, b):
    """The least milliseconds of both, run in turn."""
    best, end, rounds = [math.inf, math.inf], time.perf_counter() + SECONDS, 0
    while rounds < 3 or (time.perf_counter() < end and rounds < 1000):
        best = [min(best[0], a()), min(best[1], b())]
        rounds += 1
    return best


def error(a, b):
    """The largest difference of an output of a from b, relative to b's largest element. NaN and infinities have to be at the same places."""
    worst = 0.0
    for name, y in b.items():
        if not isinstance(y, np.ndarray) or y.dtype.kind not in 'fiub' or not y.size:
            continue
        x, y = a[name].astype(np.float64), y.astype(np.float64)
        if x.shape != y.shape or not np.array_equal(np.isnan(x), np.isnan(y)):
            return math.inf
        finite = np.isfinite(y)
        if not np.array_equal(x[~finite & ~np.isnan(y)], y[~finite & ~np.isnan(y)]) or not np.all(np.isfinite(x[finite])):
            return math.inf
        if finite.any():
            worst = max(worst, float(np.max(np.abs(x[finite] - y[finite]))) / max(float(np.max(np.abs(y[finite]))), 1e-6))
    return worst


def exact(build, path, f):
    """Outputs of the model in float64, None where that has no meaning: behind quantizers."""
    m = onnx.load(path)
    if reference.quantized(m):
        return None
    reference.widen(m)
    onnx.save(m, f'{build}/double.onnx')
    np.savez(f'{build}/double.npz', **{k: v.astype(np.float64) if v.dtype.kind == 'f' else v for k, v in f.items()})
    subprocess.run([f'{build}/engine', 'reference', f'{build}/double.onnx', f'{build}/double.npz', f'{build}/exact.npz'], check=True,
                   capture_output=True, text=True)
    return dict(np.load(f'{build}/exact.npz'))


def narrow(s):
    """Whether the model computes in float16."""
    return any(i.type == 'tensor(float16)' for i in (*s.get_inputs(), *s.get_outputs()))


def differences(build, path, s, f, ours, row):
    """Errors of both engines, and whether ours is small enough: 1e-4 (float16: 5e-3) or twice ONNX Runtime's against float64; 1e-3
    between the engines for quantized models, whose steps have no float64."""
    theirs = dict(zip([x.name for x in s.get_outputs()], s.run(None, f)))
    truth = exact(build, path, f)
    if truth is None:
        row['error'] = error(ours, theirs)
        row['wrong'] = not row['error'] <= 1e-3
        return
    row['error'], row['their_error'] = error(ours, truth), error(theirs, truth)
    row['wrong'] = not row['error'] <= max(5e-3 if narrow(s) else 1e-4, 2 * row['their_error'])


def group(macs):
    """What a model consists of, from its MACs by operator: convolutions for more than half, or a recurrent operator at all."""
    total = sum(macs.values())
    if total < SMALL:
        return 'small'
    if any(macs.get(op) for op in RECURRENT):
        return 'recurrent'
    return 'convolutional' if 2 * sum(macs.get(op, 0) for op in CONVOLUTIONS) > total else 'products'


def peak(command):
    r = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return (r['peak'] - r['before']) / 1e6


def measure(build, path, row):
    """Fills the row of a model."""
    name, model = os.path.basename(path)[:-5], f'{build}/model.onnx'
    subprocess.run([f'{build}/onnxopt', '-q', '--verify=off', path, '-o', model], check=True)
    s = session(model, THREADS)
    f = feeds(s, name)
    np.savez(f'{build}/in.npz', **f)
    with Ours(build, THREADS, f'{build}/out.npz') as ours:
        differences(build, model, s, f, np.load(f'{build}/out.npz'), row)
        row['ours'], row['theirs'] = interleaved(ours.time, timer(s, f))
    macs = json.loads(subprocess.run([f'{build}/engine', 'macs', model, f'{build}/in.npz'], check=True, capture_output=True, text=True).stdout)
    row['macs'], row['group'] = sum(macs.values()), group(macs)
    row['memory'] = peak([f'{build}/engine', 'peak', model, f'{build}/in.npz', str(RUNS)])
    row['their_memory'] = peak([sys.executable, f'{HERE}/ortpeak.py', model, f'{build}/in.npz', str(RUNS)])
    if row['macs'] >= LARGE and THREADS == 1 and os.cpu_count() > 1:
        with Ours(build, 1, os.devnull) as one, Ours(build, 2, os.devnull) as two:
            a, b = interleaved(one.time, two.time)
        row['scaling'] = a / b
        a, b = interleaved(timer(s, f), timer(session(model, 2), f))  # last: the library's second thread spins for a while after a run
        row['their_scaling'] = a / b


COLUMNS = [('group', 14, 's'), ('macs', 9, 'M'), ('ours', 10, '.3f'), ('theirs', 10, '.3f'), ('speed', 7, '.3f'), ('scaling', 8, '.2f'),
           ('their_scaling', 8, '.2f'), ('memory', 8, '.1f'), ('their_memory', 8, '.1f'), ('error', 9, '.1e'), ('their_error', 9, '.1e')]
HEADS = ['group', 'MMACs', 'ours ms', 'theirs ms', 'speed', '2 thr.', 'theirs', 'MB', 'theirs', 'error', 'theirs']


def cell(row, key, width, form):
    v = row.get(key)
    if v is None:
        return ' ' * (width - 1) + '-'
    return f'{v / 1e6:{width}.1f}' if form == 'M' else f'{v:>{width}s}' if form == 's' else f'{v:{width}{form}}'


def mean(v):
    return math.exp(sum(map(math.log, v)) / len(v))


def verdict(text, value, target, at_most=False):
    met = value <= target if at_most else value >= target
    print(f'{"met   " if met else "MISSED"} {text}')


def summary(rows):
    """The figures of each group, and which targets they meet."""
    for g in sorted({r['group'] for r in rows}):
        v = [r['speed'] for r in rows if r['group'] == g]
        print(f'{g}: {len(v)} models, speed {mean(v):.3f} by geometric mean, least {min(v):.3f}')
    v = [r['speed'] for r in rows]
    print(f'all: {len(v)} models, speed {mean(v):.3f} by geometric mean, least {min(v):.3f}')
    conv = [r for r in rows if r['group'] == 'convolutional']
    if conv:
        least = min(conv, key=lambda r: r['speed'])
        verdict(f'convolutional models: {mean([r["speed"] for r in conv]):.3f} by geometric mean, wanted 0.9', mean([r['speed'] for r in conv]), 0.9)
        verdict(f'none of them under 0.6: least {least["speed"]:.3f}, {least["name"]}', least['speed'], 0.6)
    for r in rows:
        if r['group'] in ('products', 'recurrent'):
            verdict(f'{r["name"]} ({r["group"]}): {r["speed"]:.3f}, wanted 0.8', r['speed'], 0.8)
    large = [r for r in rows if 'scaling' in r]
    if large:
        least = min(large, key=lambda r: r['scaling'])
        verdict(f'two threads 1.6 times one, models of {LARGE / 1e6:.0f} MMACs and more: least {least["scaling"]:.2f}, {least["name"]} '
                f'(geometric mean {mean([r["scaling"] for r in large]):.2f}; ONNX Runtime {mean([r["their_scaling"] for r in large]):.2f})', least['scaling'], 1.6)
    worst = max(rows, key=lambda r: r['memory'] / r['their_memory'])
    more = sum(r['memory'] > r['their_memory'] for r in rows)
    verdict(f'memory at most ONNX Runtime\'s: {more} of {len(rows)} models need more, at worst {worst["memory"] / worst["their_memory"]:.2f} times '
            f'({worst["name"]}); all together {sum(r["memory"] for r in rows):.0f} MB and {sum(r["their_memory"] for r in rows):.0f} MB', more, 0, True)


def main():
    build, models, rows, bad = sys.argv[1], sys.argv[2:], [], 0
    cpu = next((line.split(':')[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name')), platform.machine())
    flags = next((line.split() for line in open('/proc/cpuinfo') if line.startswith('flags')), [])
    known = [k for k in ('avx2', 'fma', 'f16c', 'avx512f', 'avx512_vnni', 'avx_vnni') if k in flags]
    print(f'{cpu} ({" ".join(known)}), {os.cpu_count()} cores, {THREADS} thread(s); ONNX Runtime {ort.__version__}; load {os.getloadavg()[0]:.1f}')
    print(f'ms: least of interleaved times; speed = theirs / ours; 2 thr.: time of one thread / time of two; MB: growth of the resident set '
          f'from before the model is opened, at most, load and {RUNS} runs; error: against the same model in float64 '
          '(quantized: against ONNX Runtime)')
    print(f'{"model":26s}' + ''.join(f'{h:>{c[1]}s}' for h, c in zip(HEADS, COLUMNS)))
    for path in models:
        row = {'name': os.path.basename(path)[:-5]}
        try:
            measure(build, path, row)
        except Exception as e:
            bad += 1
            text = getattr(e, 'stderr', None) or str(e)
            print(f'{row["name"]:26s} {text.strip()[:160]}', flush=True)
            continue
        row['speed'] = row['theirs'] / row['ours']
        rows.append(row)
        bad += row['wrong']
        print(f'{row["name"]:26s}' + ''.join(cell(row, *c) for c in COLUMNS) + ('  WRONG' if row['wrong'] else ''), flush=True)
    if rows:
        summary(rows)
    sys.exit(1 if bad else 0)


main()
