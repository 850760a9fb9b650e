"""measure.py BUILD MODEL...: see run. Prints a row a model and geometric means; exits 1 where outputs differ by more than 1e-3."""
import json, math, os, platform, subprocess, sys, time
import numpy as np
import onnxruntime as ort

ROUNDS = int(os.environ.get('ROUNDS', '15'))
SECONDS = float(os.environ.get('SECONDS_EACH', '4'))
THREADS = int(os.environ.get('THREADS', '1'))
SHAPES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../../shared/accept/inputs.json')
SHAPES = json.load(open(SHAPES)) if os.path.exists(SHAPES) else {}
KINDS = {'float': np.float32, 'double': np.float64, 'float16': np.float16, 'int64': np.int64, 'int32': np.int32, 'bool': bool,
         'uint8': np.uint8, 'int8': np.int8}


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


def difference(ours, theirs):
    """The largest difference of an output, relative to its largest element."""
    worst = 0.0
    for name, b in theirs.items():
        if not isinstance(b, np.ndarray) or b.dtype.kind not in 'fiub' or not b.size:
            continue
        a, b = ours[name].astype(np.float64), b.astype(np.float64)
        worst = max(worst, float(np.max(np.abs(a - b))) / max(float(np.max(np.abs(b))), 1e-6))
    return worst


def measure(build, path):
    """Least milliseconds of ours and of ONNX Runtime, and the difference of the outputs."""
    name, model = os.path.basename(path)[:-5], f'{build}/model.onnx'
    subprocess.run([f'{build}/onnxopt', '-q', '--verify=off', path, '-o', model], check=True)
    o = ort.SessionOptions()
    o.log_severity_level, o.intra_op_num_threads = 4, THREADS
    s = ort.InferenceSession(model, o, providers=['CPUExecutionProvider'])
    f = feeds(s, name)
    np.savez(f'{build}/in.npz', **f)
    p = subprocess.Popen([f'{build}/engine', model, f'{build}/in.npz', f'{build}/out.npz', str(THREADS)], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
    try:
        if p.stdout.readline().strip() != 'ready':
            raise RuntimeError(p.stderr.read().strip())
        theirs = dict(zip([x.name for x in s.get_outputs()], s.run(None, f)))
        ours = np.load(f'{build}/out.npz')
        worst = difference(ours, theirs)
        best, end, rounds = [math.inf, math.inf], time.perf_counter() + SECONDS, 0
        while rounds < ROUNDS or (time.perf_counter() < end and rounds < 50 * ROUNDS):
            p.stdin.write('\n')
            best[0] = min(best[0], int(p.stdout.readline()) / 1e6)
            t = time.perf_counter()
            s.run(None, f)
            best[1] = min(best[1], (time.perf_counter() - t) * 1e3)
            rounds += 1
            if rounds >= 3 and time.perf_counter() > end:
                break
        return best[0], best[1], worst
    finally:
        p.stdin.close()
        p.wait()


def main():
    build, models = sys.argv[1], sys.argv[2:]
    cpu = next((l.split(':')[1].strip() for l in open('/proc/cpuinfo') if l.startswith('model name')), platform.machine())
    print(f'{cpu}, {os.cpu_count()} cores, {THREADS} thread(s); ONNX Runtime {ort.__version__}; least of interleaved times; speed = theirs / ours')
    print(f'{"model":30s}{"ours ms":>10s}{"theirs ms":>11s}{"speed":>8s}{"difference":>12s}')
    speeds, bad = [], 0
    for path in models:
        name = os.path.basename(path)[:-5]
        try:
            ours, theirs, worst = measure(build, path)
        except Exception as e:
            bad += 1
            print(f'{name:30s} {str(e)[:120]}', flush=True)
            continue
        speeds.append(theirs / ours)
        bad += not worst < 1e-3
        print(f'{name:30s}{ours:10.3f}{theirs:11.3f}{theirs / ours:8.3f}{worst:12.1e}', flush=True)
    if speeds:
        print(f'{math.exp(sum(map(math.log, speeds)) / len(speeds)):.3f} geometric mean of {len(speeds)} models, least {min(speeds):.3f}')
    sys.exit(1 if bad else 0)


main()
