"""measure.py ONNXOPT [ROW...]: see run. Exits 1 if a row of ours misses what it is to reach."""
import math, os, subprocess, sys, tempfile, time
import numpy as np
import onnxruntime as ort
import data

CHILD = ('import resource,subprocess,sys,time;t=time.perf_counter();r=subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,stderr=subprocess.PIPE);'
         'print(time.perf_counter()-t,resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss/1024,r.returncode);sys.stderr.buffer.write(r.stderr[-400:])')


def process(cmd):
    """Wall seconds, peak MB, exit code and the end of stderr of a whole process, measured by a small child."""
    try:
        p = subprocess.run([sys.executable, '-S', '-c', CHILD] + cmd, capture_output=True, text=True, timeout=1200)
        a = p.stdout.split()
        return float(a[0]), float(a[1]), int(a[2]), p.stderr.strip().split('\n')[-1]
    except subprocess.TimeoutExpired:
        return 1200.0, 0.0, 124, 'timeout'


def session(path):
    o = ort.SessionOptions()
    o.log_severity_level, o.intra_op_num_threads = 4, 1
    return ort.InferenceSession(path, o, providers=['CPUExecutionProvider'])


def ctc(y):
    k = y.argmax(-1).ravel()
    return [int(c) for i, c in enumerate(k) if c and (i == 0 or k[i - 1] != c)]


def iou(a, b):
    x, y = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    i = np.prod(np.maximum(y - x, 0))
    return i / max(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - i, 1e-12)


def nms(boxes, scores, threshold):
    keep = []
    for i in np.argsort(-scores):
        if scores[i] < threshold:
            break
        if all(iou(boxes[i], boxes[j]) < .5 for j in keep):
            keep.append(i)
    return boxes[keep]


def detections(kind, out):
    if kind == 'ultraface':
        s, b = (out[0][0], out[1][0]) if out[0].shape[-1] == 2 else (out[1][0], out[0][0])
        return nms(b, s[:, 1], .6)
    y = out[0][0]  # [85, h, w]: objectness, box, classes
    _, h, w = y.shape
    gy, gx = np.mgrid[:h, :w]
    sig = lambda v: 1 / (1 + np.exp(-v))
    cx, cy = (gx + np.tanh(y[1])) / w, (gy + np.tanh(y[2])) / h
    bw, bh = sig(y[3]), sig(y[4])
    boxes = np.stack([cx - bw / 2, cy - bh / 2, cx + bw / 2, cy + bh / 2], -1).reshape(-1, 4)
    return nms(boxes, (y[0] ** .6 * y[5:].max(0) ** .4).ravel(), .4)


def agreement(kind, a, b, samples):
    """Share of answers that are the float model's, and its standard error."""
    hits, n, values = 0, 0, []
    for s in samples:
        x, y = a.run(None, s), b.run(None, s)
        if kind == 'top1':
            values.append(float(x[0].argmax() == y[0].argmax()))
        elif kind == 'ctc':
            values.append(float(ctc(x[0]) == ctc(y[0])))
        elif kind == 'cosine':
            u, v = x[0][0].mean(0), y[0][0].mean(0)
            values.append(float(u @ v / np.linalg.norm(u) / np.linalg.norm(v)))
        else:
            p, q = detections(kind, x), detections(kind, y)
            free = list(range(len(q)))
            for d in p:
                k = next((k for k in free if iou(d, q[k]) > .5), None)
                if k is not None:
                    free.remove(k)
                    hits += 1
            n += len(p) + len(q)
    if n:
        return 2 * hits / n, 0.0
    m = float(np.mean(values))
    return m, math.sqrt(max(m * (1 - m), 0) / len(values)) if kind != 'cosine' else float(np.std(values)) / math.sqrt(len(values))


def speeds(a, b, samples, rounds=9):
    s = samples[len(samples) // 2]
    for m in (a, b):
        m.run(None, s)
    t = time.perf_counter()
    a.run(None, s)
    n = max(2, int(.05 / max(time.perf_counter() - t, 1e-6)))
    best = [math.inf, math.inf]
    for _ in range(rounds):
        for k, m in enumerate((a, b)):
            t = time.perf_counter()
            for _ in range(n):
                m.run(None, s)
            best[k] = min(best[k], (time.perf_counter() - t) / n)
    return best[0] / best[1]


def main():
    binary, wanted = sys.argv[1], sys.argv[2:]
    work = tempfile.mkdtemp()
    missed = []
    print(f'{"row":11} {"tool":15} {"agreement":>16} {"speed":>7} {"size":>6} {"MB":>6} {"s":>7}')
    for name, make in data.rows(work).items():
        if wanted and name not in wanted:
            continue
        model, calib, test, kind, pipeline, goal = make()
        folder = os.path.join(work, name)
        os.makedirs(folder)
        for i, s in enumerate(calib):
            np.savez(os.path.join(folder, f'{i:04d}.npz'), **s)
        peers = ['ort-dynamic'] if kind == 'cosine' else ['ort-minmax', 'ort-percentile', 'nncf', 'onnxsim']
        for tool in ['ours'] + (peers if os.environ.get('PEERS', '1') != '0' else []):
            out = os.path.join(work, f'{name}.{tool}.onnx')
            cmd = [binary, '--verify=off', '--cache', 'none', '-q', '-p', pipeline, model, '-o', out] + ([] if kind == 'cosine' else ['--calib', folder])
            if tool != 'ours':
                cmd = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'peer.py'), tool, model, folder, out]
            seconds, mb, rc, err = process(cmd)
            try:
                if rc:
                    raise RuntimeError(err or f'exit {rc}')
                a, b = session(model), session(out)
                agree, spread = agreement(kind, a, b, test)
                speed, size = speeds(a, b, test), os.path.getsize(out) / os.path.getsize(model)
            except Exception as e:
                print(f'{name:11} {tool:15} failed: {str(e)[:120]}', flush=True)
                missed += [name] if tool == 'ours' else []
                continue
            text = ''
            if tool == 'ours':
                lost = [k for k, v in goal.items() if (size > v if k == 'size' else dict(agree=agree, speed=speed)[k] < v)]
                text = 'met' if not lost else 'MISSED ' + ', '.join(f'{k} {goal[k]}' for k in lost)
                missed += [name] if lost else []
            print(f'{name:11} {tool:15} {agree:8.4f} ± {spread:.4f} {speed:6.2f}x {size:6.3f} {mb:6.0f} {seconds:7.1f}  {text}', flush=True)
    sys.exit(1 if missed else 0)


main()
