"""Times models in C beside ONNX Runtime; run says how to call it."""
import ctypes
import os
import re
import statistics
import subprocess
import sys
import time

import numpy as np

from network import network

SHARED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared/models")
MODELS = {
    "resnet8-cifar10": "input_1=[1,32,32,3]", "mnist-8": "", "ultraface-RFB-320": "", "fastestdet": "", "ppocr-cls-v2": "x=[1,3,48,192]",
    "super-resolution-10": "input=[1,1,224,224]", "magika-standard-v3_3": "bytes=[1,2048]", "separable-96": "",
    "squeezenet-fp16-winml": "", "minilm-l2-trimvocab-fp32": "batch=1 seq=32", "resnet8-cifar10-int8qdq": "input_1_int8=[1,32,32,3]",
}
FLAGS = os.environ.get("CFLAGS", "-O3 -march=native").split()
SECONDS = float(os.environ.get("SECONDS_EACH", "2"))
SEARCH = float(os.environ.get("SEARCH", "0"))
LOG = os.environ.get("LOG", "")


def high_water():
    with open("/proc/self/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024


def session(path):
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    o.log_severity_level = 3
    return ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])


def feeds(inputs):
    rng = np.random.default_rng(0)
    r = {}
    for name, typ, shape in inputs:
        shape = [d if isinstance(d, int) else 1 for d in shape]
        if "mask" in name:
            r[name] = np.ones(shape, np.int64)
        elif "int" in typ:
            r[name] = rng.integers(-128, 128, shape).astype(np.int8) if typ == "tensor(int8)" else rng.integers(0, 2 if "type" in name else 255, shape).astype({"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8}[typ])
        else:
            r[name] = rng.random(shape).astype(np.float16 if "float16" in typ else np.float32)
    return r


def library(path, function, arrays):
    f = getattr(ctypes.CDLL(path), function)
    args = [a.ctypes.data_as(ctypes.c_void_p) for a in arrays]
    return lambda: f(*args)


def wide(a):
    return np.ascontiguousarray(a.astype(np.float32) if a.dtype == np.float16 else a)


def run_once():
    """The body of a process that measures memory: what a run adds to the imports."""
    kind, data = sys.argv[2], np.load(sys.argv[3])
    import onnxruntime  # noqa: F401, in both, so that it counts in neither
    arrays = [data[k] for k in data.files]
    before = high_water()
    if kind == "ort":
        s = session(sys.argv[4])
        f = {k: v for k, v in zip([i.name for i in s.get_inputs()], arrays)}
        for _ in range(3):
            s.run(None, f)
    else:
        outs = [np.zeros(int(n), np.uint8) for n in sys.argv[6:]]
        run = library(sys.argv[4], sys.argv[5], [wide(a) for a in arrays] + outs)
        for _ in range(3):
            run()
    print(high_water() - before)


def per_call(f, n):
    """Milliseconds of the processor, of all threads: what else the machine does counts for nobody."""
    t = time.process_time()
    for _ in range(n):
        f()
    return (time.process_time() - t) / n * 1e3


def repeats(f):
    f()
    return max(1, int(20 / max(per_call(f, 1), 1e-3)))


def check(cmd, **k):
    p = subprocess.run(cmd, capture_output=True, text=True, **k)
    if p.returncode != 0:
        sys.exit(f"{' '.join(cmd)}: {p.stderr.strip()[-800:]}")
    return p.stdout + p.stderr


def peer(tmp, base, name, arrays):
    cgen = os.environ.get("PEER_CGEN")
    if not cgen:
        return None
    out = os.path.join(tmp, name + "_peer.c")
    p = subprocess.run([cgen, "compile", base, out], capture_output=True, text=True)
    if p.returncode != 0:
        return None
    sources = [os.path.join(tmp, f) for f in os.listdir(tmp) if f.startswith(name + "_peer") and f.endswith(".c")]
    lib = os.path.join(tmp, name + "_peer.so")
    check(["gcc", *FLAGS, "-w", "-shared", "-fPIC", "-o", lib, *sources, "-lm"], cwd=tmp)
    function = re.findall(r"^void (\w+)\(", open(out).read(), re.M)[-1]
    return library(lib, function, arrays)


def search(tmp, onnxopt, base, name, arrays):
    """The model with the schedule that a search finds."""
    schedule, src, lib = (os.path.join(tmp, name + e) for e in (".schedule", "_found.c", "_found.so"))
    told = check([onnxopt, "schedule", "--target", "c", "-O0", base, "--cc", " ".join(["gcc", *FLAGS]), "--time", f"{SEARCH}s", "-o", schedule, "--log", LOG or os.path.join(tmp, "trials.jsonl")])
    if os.environ.get("VERBOSE"):
        print(told, file=sys.stderr)
    check([onnxopt, "--target", f"c{{schedule={schedule} name={name}_found}}", "-O0", "--verify=off", base, "-o", src])
    check(["gcc", "-std=c99", *FLAGS, "-shared", "-fPIC", "-o", lib, src, "-lm"], cwd=tmp)
    return library(lib, name + "_found_run", arrays)


def measure(tmp, model):
    path = model
    sizes = MODELS.get(model, "")
    if model == "separable-96":
        path = os.path.join(tmp, "separable-96.onnx")
        network(path)
    elif model in MODELS:
        path = os.path.join(SHARED, model + ".onnx")
    name = re.sub(r"\W", "_", os.path.basename(path).removesuffix(".onnx"))
    base, src, lib = (os.path.join(tmp, name + e) for e in ("_static.onnx", ".c", ".so"))
    onnxopt = os.path.join(tmp, "onnxopt")
    check([onnxopt, path, "-o", base, "--verify=off"] + (["-p", f"set-shape{{{sizes}}}"] if sizes else ["-O0"]))
    notes = check([onnxopt, "--target", "c", "-O0", "--verify=off", base, "-o", src])
    check(["gcc", "-std=c99", *FLAGS, "-shared", "-fPIC", "-o", lib, src, "-lm"], cwd=tmp)
    s = session(base)
    f = feeds([(i.name, i.type, i.shape) for i in s.get_inputs()])
    want = s.run(None, f)
    outs = [np.zeros(w.shape, np.float32 if w.dtype == np.float16 else w.dtype) for w in want]
    ins = [wide(a) for a in f.values()]
    ours = library(lib, name + "_run", ins + outs)
    ours()
    differs = lambda: max(float(np.max(np.abs(a.astype(np.float64) - b)) / max(np.max(np.abs(a)), 1e-6)) for a, b in zip(want, outs))
    diff = differs()
    found = search(tmp, onnxopt, base, name, ins + outs) if SEARCH else None
    if found:
        for o in outs:
            o[...] = 0
        found()
        diff = max(diff, differs())
    theirs = lambda: s.run(None, f)
    other = peer(tmp, base, name, ins + [np.zeros_like(o) for o in outs])
    a, b, c, d = [], [], [], []
    n, m = repeats(theirs), repeats(ours)
    k = repeats(found) if found else 0
    end = time.time() + SECONDS
    while time.time() < end or len(a) < 5:
        a.append(per_call(theirs, n))
        b.append(per_call(ours, m))
        if found:
            d.append(per_call(found, k))
    if other:
        c = [per_call(other, 1) for _ in range(3)]
    data = os.path.join(tmp, name + ".npz")
    np.savez(data, *f.values())
    mo, mc = (float(check([sys.executable, __file__, "--memory", *x])) for x in (["ort", data, base], ["c", data, lib, name + "_run", *[str(o.nbytes) for o in outs]]))
    arena = int(re.search(r"arena (\d+) bytes", notes).group(1))
    ta, tb = statistics.median(a), statistics.median(b)
    td = statistics.median(d) if d else tb
    line = f"{name:26s} {ta:9.3f} {tb:9.3f} {ta / tb:6.2f}" + (f" {td:9.3f} {ta / td:6.2f} {tb / td:6.2f}" if found else "") + f"  {diff:7.1e}  {mo:7.1f} {mc:7.1f}  {arena / 1e6:8.3f}"
    if c:
        line += f"  {min(c):9.3f} {min(c) / td:6.0f}"
    print(line, flush=True)
    return ta / tb, ta / td, tb, td


def main():
    tmp, models = sys.argv[1], sys.argv[2:] or list(MODELS)
    print(f"{'model':26s} {'ORT ms':>9s} {'C ms':>9s} {'ratio':>6s}" + (f" {'found ms':>9s} {'ratio':>6s} {'gain':>6s}" if SEARCH else "")
          + f"  {'differs':>7s}  {'ORT MB':>7s} {'C MB':>7s}  {'arena MB':>8s}" + ("  {:>9s} {:>6s}".format("peer ms", "ratio") if os.environ.get("PEER_CGEN") else ""))
    r = {m: measure(tmp, m) for m in models}
    mean = lambda i: np.exp(np.mean([np.log(x[i]) for x in r.values()]))
    print(f"geometric mean {mean(0):.2f}" + (f", after search {mean(1):.2f}, search over the default {np.exp(np.mean([np.log(x[2] / x[3]) for x in r.values()])):.2f}" if SEARCH else ""))
    for m in r:
        base = re.sub(r"-int8(qdq)?((\.onnx)?)$", r"\2", m)
        if base != m and base in r:
            f = r[base]
            print(f"{m}: {f[2] / r[m][2]:.2f} over the float32 model" + (f", both after search {f[3] / r[m][3]:.2f}" if SEARCH else ""))


if __name__ == "__main__":
    if sys.argv[1] == "--memory":
        run_once()
    else:
        main()
