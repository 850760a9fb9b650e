"""What the rows of the table are measured with: the whole command's time, accuracy in ONNX Runtime, and latency side by side.

Latency is that of one thread with ONNX Runtime's default optimizations; original and result take turns, so that what else runs on the
machine meets both, and the figure is the ratio of the medians (the 20th percentile of each is printed by --verbose callers)."""
import os
import resource
import subprocess
import time

import numpy as np
import onnxruntime as ort


def session(path, threads=1):
    so = ort.SessionOptions()
    so.intra_op_num_threads = threads
    so.inter_op_num_threads = 1
    so.log_severity_level = 4
    return ort.InferenceSession(str(path), so, providers=["CPUExecutionProvider"])


def latency(before, after, feed, seconds=3.0, feed_after=None):
    """The ratio after/before of the 20th percentile of interleaved runs, and milliseconds of before."""
    a, b = session(before), session(after)
    feed_after = feed_after or feed
    for _ in range(5):
        a.run(None, feed)
        b.run(None, feed_after)
    ta, tb = [], []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(ta) < 30:
        x = time.perf_counter()
        a.run(None, feed)
        y = time.perf_counter()
        b.run(None, feed_after)
        z = time.perf_counter()
        ta.append(y - x)
        tb.append(z - y)
    return float(np.percentile(tb, 20) / np.percentile(ta, 20)), float(np.percentile(ta, 20) * 1e3)


def run(binary, model, pipeline, out, *flags, timeout=900):
    """Runs the command, which takes nothing from earlier runs; returns seconds of the whole process, seconds of processors, and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    p = subprocess.run([binary, "-p", pipeline, str(model), "-o", str(out), "--cache", "none", *map(str, flags)], capture_output=True, text=True, timeout=timeout)
    took = time.perf_counter() - begun
    if p.returncode:
        raise RuntimeError(f"{pipeline}: exit {p.returncode}: {p.stderr.strip() or p.stdout.strip()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, p.stdout + p.stderr


def cifar(path):
    r = np.fromfile(path, np.uint8).reshape(-1, 3073)
    return np.ascontiguousarray(r[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)).astype(np.float32), r[:, 0].astype(int)


def top1(path, x, y, batch=50):
    """Percent of samples whose largest output is that of the label, in ONNX Runtime."""
    s = session(path, os.cpu_count())
    name = s.get_inputs()[0].name
    right = 0
    for i in range(0, len(x), batch):
        right += int((s.run(None, {name: x[i:i + batch]})[0].reshape(len(x[i:i + batch]), -1).argmax(1) == y[i:i + batch]).sum())
    return 100 * right / len(x)
