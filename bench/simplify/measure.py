"""measure.py ONNXOPT MODEL...: see run. Prints a row a model and geometric means; exits 1 if a result of ours is invalid."""
import json, math, os, platform, resource, subprocess, sys, tempfile, time
import numpy as np
import onnx
import onnxruntime as ort

ROUNDS = int(os.environ.get('ROUNDS', '3'))
SHAPES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../../shared/accept/inputs.json')
SHAPES = json.load(open(SHAPES)) if os.path.exists(SHAPES) else {}
CHILD = ('import resource,subprocess,sys,time;t=time.perf_counter();r=subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL);'
         'print(time.perf_counter()-t,resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss/1024,r.returncode)')


def process(cmd):
    """Wall seconds, peak MB and exit code of a whole process, measured by a small child."""
    try:
        out = subprocess.run([sys.executable, '-S', '-c', CHILD] + cmd, capture_output=True, text=True, timeout=600).stdout.split()
        return float(out[0]), float(out[1]), int(out[2])
    except subprocess.TimeoutExpired:
        return 600.0, 0.0, 124


def nodes(graph, constants=()):
    """Nodes without Constant and without ConstantOfShape of a constant, subgraphs included."""
    known, n = set(constants) | {i.name for i in graph.initializer}, 0
    for x in graph.node:
        if x.op_type == 'Constant':
            known.update(x.output)
        elif not (x.op_type == 'ConstantOfShape' and x.input[0] in known):
            n += 1
        for a in x.attribute:
            n += sum(nodes(g, known) for g in ([a.g] if a.type == a.GRAPH else a.graphs))
    return n


def session(path):
    o = ort.SessionOptions()
    o.log_severity_level, o.intra_op_num_threads = 4, 1
    return ort.InferenceSession(path, o, providers=['CPUExecutionProvider'])


def feeds(s, name):
    r, f = np.random.default_rng(0), {}
    kinds = {'float': np.float32, 'double': np.float64, 'float16': np.float16, 'int64': np.int64, 'int32': np.int32, 'bool': bool, 'uint8': np.uint8, 'int8': np.int8}
    for i in s.get_inputs():
        dims = SHAPES.get(name, {}).get(i.name) or [d if isinstance(d, int) and d > 0 else (1 if k == 0 else 64) for k, d in enumerate(i.shape)]
        if name in SHAPES and i.name in SHAPES[name]:
            dims = SHAPES[name][i.name]
        t = kinds[i.type[7:-1]]
        f[i.name] = np.array(16000, np.int64) if i.name == 'sr' else r.integers(0, 2, dims).astype(t) if t is bool or np.issubdtype(t, np.integer) else r.standard_normal(dims).astype(t)
    return f


def latency(paths, name):
    """The least of interleaved times for each model that runs, in ms."""
    runs = {}
    for k, p in paths.items():
        try:
            s = session(p)
            f = feeds(s, name)
            s.run(None, f)
            runs[k] = (s, f)
        except Exception:
            pass
    best = {k: math.inf for k in runs}
    for _ in range(15):
        for k, (s, f) in runs.items():
            t = time.perf_counter()
            s.run(None, f)
            best[k] = min(best[k], (time.perf_counter() - t) * 1e3)
    return best


def main():
    tool, models = sys.argv[1], sys.argv[2:]
    cpu = next((l.split(':')[1].strip() for l in open('/proc/cpuinfo') if l.startswith('model name')), platform.machine())
    print(f'{cpu}, {os.cpu_count()} cores; {ROUNDS} rounds, least of each; onnxslim 0.1.98, onnxsim 0.8.1, ONNX Runtime {ort.__version__}')
    print(f'{"model":28s}{"ours ms":>9s}{"slim x":>8s}{"sim x":>8s}{"MB":>6s}{"slim":>6s}{"sim":>6s}{"nodes":>7s}{"ours":>6s}{"slim":>6s}{"sim":>6s}{"bytes":>7s}{"gain":>6s}{"sim":>6s}')
    tmp, ratios, gains, bad = tempfile.mkdtemp(), {'onnxslim': [], 'onnxsim': []}, [], 0
    for path in models:
        name = os.path.basename(path)[:-5]
        out = {k: f'{tmp}/{k}.onnx' for k in ('ours', 'onnxslim', 'onnxsim')}
        cmd = {'ours': [tool, '-q', '--verify=off', path, '-o', out['ours']], 'onnxslim': [sys.executable, '-m', 'onnxslim', path, out['onnxslim']],
               'onnxsim': [sys.executable, '-m', 'onnxsim', path, out['onnxsim']]}
        took = {k: (math.inf, 0, 1) for k in cmd}
        for _ in range(ROUNDS):
            for k, c in cmd.items():
                took[k] = min(took[k], process(c))
        count = {}
        for k, p in out.items():
            count[k] = nodes(onnx.load(p, load_external_data=False).graph) if os.path.exists(p) else 0
        try:
            onnx.checker.check_model(out['ours'], full_check=True)
        except Exception as e:
            bad += 1
            print(name, 'INVALID', str(e)[:100])
        ms = latency({'original': path, **out}, name)
        for k in ratios:
            if took[k][2] == 0:
                ratios[k].append(took[k][0] / took['ours'][0])
        gain = {k: ms['original'] / ms[k] for k in ('ours', 'onnxsim') if k in ms and 'original' in ms}
        if 'ours' in gain:
            gains.append(gain['ours'])
        row = lambda k: f'{took[k][0] / took["ours"][0]:8.0f}'
        print(f'{name:28s}{took["ours"][0] * 1e3:9.1f}{row("onnxslim")}{row("onnxsim")}{took["ours"][1]:6.0f}{took["onnxslim"][1]:6.0f}{took["onnxsim"][1]:6.0f}'
              f'{nodes(onnx.load(path, load_external_data=False).graph):7d}{count["ours"]:6d}{count["onnxslim"]:6d}{count["onnxsim"]:6d}'
              f'{os.path.getsize(out["ours"]) / os.path.getsize(path):7.2f}{gain.get("ours", math.nan):6.2f}{gain.get("onnxsim", math.nan):6.2f}', flush=True)
        for p in out.values():
            if os.path.exists(p):
                os.remove(p)
    geo = lambda x: math.exp(sum(map(math.log, x)) / len(x)) if x else math.nan
    for k, v in ratios.items():
        print(f'{geo(v):.1f} times faster than {k} (geometric mean of whole-process times), least {min(v, default=math.nan):.1f}')
    print(f'{geo(gains):.3f} times the speed of the original in ONNX Runtime, one thread (geometric mean), least {min(gains, default=math.nan):.2f}')
    sys.exit(1 if bad else 0)


main()
