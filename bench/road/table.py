"""The rows of the table; run says how to call it."""
import ctypes
import gzip
import json
import os
import re
import resource
import subprocess
import sys
import time

import numpy as np
import onnx

import measure

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
RESNET = "resnet8-cifar10"


class Left(Exception):
    """A row that cannot be measured here."""


def four_bits(path):
    """Stores the weights of convolutions and products in 4 bits, symmetric, behind DequantizeLinear of opset 21."""
    m = onnx.load(path)
    g, held = m.graph, {i.name: i for i in m.graph.initializer}
    for n in [n for n in g.node if n.op_type in ("Conv", "Gemm", "MatMul") and n.input[1] in held]:
        name = n.input[1]
        w, axis = onnx.numpy_helper.to_array(held[name]), 0 if n.op_type == "Conv" else 1
        scale = np.maximum(np.abs(w).max(axis=tuple(i for i in range(w.ndim) if i != axis), keepdims=True) / 7, 1e-12)
        q = np.clip(np.round(w / scale), -8, 7).astype(int)
        g.initializer.append(onnx.helper.make_tensor(name + ".q", onnx.TensorProto.INT4, w.shape, q.flatten().tolist()))
        g.initializer.append(onnx.numpy_helper.from_array(scale.reshape(-1).astype(np.float32), name + ".scale"))
        n.input[1] = name + ".dq"
        g.node.insert(list(g.node).index(n), onnx.helper.make_node("DequantizeLinear", [name + ".q", name + ".scale"], [name + ".dq"], axis=axis))
        if not any(name in k.input for k in g.node):
            g.initializer.remove(held[name])
    m.ir_version = 10
    onnx.save(m, path)


class Bench:
    def __init__(self, folder, shared):
        self.folder, self.shared, self.binary, self.missed = folder, shared, folder + "/onnxopt", 0

    def data(self, path):
        path = f"{self.shared}/{path}"
        if not os.path.exists(path):
            raise Left(f"there is no {path}")
        return path

    def run(self, *args, cwd=None, ok=(0,)):
        """Runs the command; returns its output, seconds, and seconds of processors."""
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        p = subprocess.run([self.binary, *args], capture_output=True, text=True, cwd=cwd)
        took, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        if p.returncode not in ok:
            raise RuntimeError(f"onnxopt {' '.join(args)}: exit {p.returncode}: {p.stderr.strip()[-400:]}")
        return p.stdout + p.stderr, took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def row(self, case, text, **bounds):
        """Prints a row; bounds are name=(value, holds)."""
        bad = [n for n, holds in bounds.items() if not holds]
        self.missed += bool(bad)
        print(f"{case:44} {text}" + (f"  MISSED {', '.join(bad)}" if bad else ""), flush=True)

    def accuracy(self, model, data):
        out, _, _ = self.run("eval", model, "--data", data, "--metric", "top1")
        return 100 * float(re.search(r"^top1\s+([\d.]+)", out, re.M).group(1))

    def agreement(self, model, reference, data):
        out, _, _ = self.run("eval", model, "--reference", reference, "--data", data, "--metric", "agreement")
        return float(re.search(r"^agreement\s+([\d.]+)", out, re.M).group(1))

    # The rows.

    def digits(self):
        """The commands of docs/road.md, then the C code on the held-out fifth and in time."""
        work = self.folder + "/digits"
        os.makedirs(work)
        os.symlink(REPO + "/testdata", work + "/testdata")
        page = open(REPO + "/docs/road.md").read()
        begun = time.perf_counter()
        for block in re.findall(r"```sh\n(.*?)```", page, re.S):
            env = dict(os.environ, PATH=self.folder + os.pathsep + os.environ["PATH"])
            p = subprocess.run(["sh", "-e", "-c", block], cwd=work, env=env, capture_output=True, text=True)
            if p.returncode:
                raise RuntimeError(f"docs/road.md: {p.stderr.strip()[-400:]}")
        took = time.perf_counter() - begun
        with gzip.open(work + "/testdata/digits/digits-images.idx3.gz") as f:
            x = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 16, 16).astype(np.float32)[1600:]
        with gzip.open(work + "/testdata/digits/digits-labels.idx1.gz") as f:
            y = np.frombuffer(f.read(), np.uint8, offset=8)[1600:]
        subprocess.run("gcc -std=c99 -O3 -march=native -shared -fPIC -I. -o digits.so digits.c -lm", shell=True, check=True, cwd=work)
        f = ctypes.CDLL(work + "/digits.so").digits_run
        out, one = np.zeros((1, 10), np.float32), np.zeros((1, 1, 16, 16), np.float32)
        pin, pout = (a.ctypes.data_as(ctypes.c_void_p) for a in (one, out))
        right = 0
        for image, label in zip(x, y):
            one[0] = image
            f(pin, pout)
            right += int(out.argmax() == label)
        s = measure.session(work + "/teacher.onnx")
        ours, theirs = [], []
        n = 2000
        for _ in range(15):
            t = time.perf_counter()
            for _ in range(n):
                f(pin, pout)
            u = time.perf_counter()
            for _ in range(n):
                s.run(None, {"image": one})
            ours.append((u - t) / n)
            theirs.append((time.perf_counter() - u) / n)
        faster = np.median(theirs) / np.median(ours)
        weights = sum(onnx.numpy_helper.to_array(t).nbytes for t in onnx.load(work + "/best.onnx").graph.initializer if t.data_type == onnx.TensorProto.INT8)
        top1 = 100 * right / len(y)
        self.row("digits from nothing to C", f"top-1 {top1:.2f} % (wanted 97) in C, {weights} bytes of int8 weights (20000), {faster:.1f}x as fast as the float "
                 f"original in ONNX Runtime (1), {os.path.getsize(work + '/digits.tflite')} bytes of .tflite, {took:.0f} s", accuracy=top1 >= 97, bytes=weights <= 20000, time=faster > 1)

    def half(self):
        """resnet8 with half of its multiply-accumulates, distilled; made once."""
        out = self.folder + "/distilled.onnx"
        model, cifar = self.data(f"models/{RESNET}.onnx"), self.data("data/cifar10")
        if not os.path.exists(out):
            self.run("-p", "prune{unit=channel macs=0.5}", "--calib", cifar + "/calib_500.bin", "--cache", "none", model, "-o", self.folder + "/half.onnx", "--verify=off")
            self.took = self.run("distill", "--teacher", model, "--student", self.folder + "/half.onnx", "--data", cifar + "/train_5000.bin", "--ce-weight", "0",
                                 "--flip", "--crop", "2", "--epochs", "8", "--threads", "2", "-o", out)[1:]
        return model, out, cifar + "/test_2000.bin"

    def resnet8(self):
        model, out, test = self.half()
        whole, pruned, after = (self.accuracy(m, test) for m in (model, self.folder + "/half.onnx", out))
        took, cpu = self.took
        feed = {"input_1": np.random.default_rng(0).random((1, 32, 32, 3), np.float32) * 255}
        ratio, _ = measure.latency(model, out, feed)
        self.row(f"{RESNET}, MACs -50 %, distilled", f"top-1 {whole:.2f} -> {pruned:.2f} -> {after:.2f} %, loss {whole - after:.2f} points (8), {took:.0f} s (300), {cpu:.0f} CPU s, "
                 f"latency {ratio:.2f} of the original's", loss=whole - after <= 8, seconds=took <= 300)

    def int8(self):
        """What learning behind quantizers gives back of the agreement of an int8 model."""
        model, cifar = self.data(f"models/{RESNET}.onnx"), self.data("data/cifar10")
        q, out = self.folder + "/int8.onnx", self.folder + "/int8-distilled.onnx"
        self.run("-p", "quantize{profile=tflite}", "--calib", cifar + "/calib_500.bin", model, "-o", q, "--verify=off")
        _, took, cpu = self.run("distill", "--teacher", model, "--student", q, "--data", cifar + "/train_5000.bin", "--ce-weight", "0",
                                "--limit", "1280", "--flip", "--epochs", "2", "--threads", "2", "-o", out)
        before, after = (self.agreement(m, model, cifar + "/test_2000.bin") for m in (q, out))
        self.row(f"{RESNET} in int8, distilled", f"agreement {before:.4f} -> {after:.4f} (more), {took:.0f} s, {cpu:.0f} CPU s", agreement=after > before)

    def int4(self):
        """The same with weights rounded to the nearest of 16 numbers, a scale for each channel."""
        model, cifar = self.data(f"models/{RESNET}.onnx"), self.data("data/cifar10")
        q, out = self.folder + "/int4.onnx", self.folder + "/int4-distilled.onnx"
        self.run("-p", "opset{to=21}", "--verify=off", model, "-o", q)
        four_bits(q)
        _, took, cpu = self.run("distill", "--teacher", model, "--student", q, "--data", cifar + "/train_5000.bin", "--ce-weight", "0", "--limit", "1280", "--flip", "--epochs", "2",
                                "--threads", "2", "-o", out)
        before, after = (self.agreement(m, model, cifar + "/test_2000.bin") for m in (q, out))
        self.row(f"{RESNET} with weights of 4 bits, distilled", f"agreement {before:.4f} -> {after:.4f} (more), {took:.0f} s, {cpu:.0f} CPU s", agreement=after > before)

    def tune(self, name, model, wanted, check, *args):
        if subprocess.run([self.binary, "tune", "--help"], capture_output=True).returncode:
            raise Left("not there: this onnxopt has no verb tune")
        out = f"{self.folder}/tune-{name}"
        _, took, _ = self.run("tune", model, "--engine", "ort", "--threads", "2", "--time", os.environ.get("TUNE", "30m"), "-o", out, *args, ok=(0, 1))
        front = json.load(open(out + "/front.json"))
        best = next((c for c in front["front"] if c["number"] == front.get("best")), None)
        if best is None:
            self.row(f"tune {name}", f"no candidate in {took:.0f} s (wanted {wanted})", found=False)
            return
        latency = best["values"]["latency"] / front["original"]["latency"]
        self.row(f"tune {name}", f"latency {latency:.2f} of the original's, {front['metric']} {best['loss']:+.2f} points lost (wanted {wanted}): {best['choices']}, "
                 f"{front['measured']} measurements, {len(front['front'])} on the front, {took:.0f} s", found=check(latency) and front["met"])

    def tune_resnet8(self):
        cifar = self.data("data/cifar10")
        self.tune(RESNET, self.data(f"models/{RESNET}.onnx"), "0.60 at 2 points", lambda v: v <= .6, "--data", cifar + "/test_2000.bin", "--calib", cifar + "/calib_500.bin",
                  "--metric", "top1", "--floor", "drop<=2", "--objective", "latency", "--goal", "latency<=60%")

    def tune_squeezenet(self):
        """In float32, which is the faster original: ONNX Runtime's processors compute float16 between casts."""
        d, model = self.data("data/imagenet300"), self.folder + "/squeezenet.onnx"
        self.run("-p", "precision{to=float32 keep-io=false},O2", "--verify=off", self.data("models/squeezenet-fp16-winml.onnx"), "-o", model)
        self.tune("squeezenet", model, "1/1.6 at agreement .98", lambda v: v <= 1 / 1.6, "--data", d + "/val", "--calib", d + "/calib", "--preset", "caffe-bgr",
                  "--floor", "agreement>=0.98", "--objective", "latency")

    def tune_rec(self):
        """Lines of their own widths; those to calibrate on are not among those to measure on."""
        d = self.data("data/ocr/lines")
        self.tune("ppocrv4-rec", self.data("models/ppocrv4-rec.onnx"), "1/1.1 at agreement .98", lambda v: v <= 1 / 1.1, "--data", d + "[60:]", "--calib", d + "[:60]",
                  "--resize", "48", "--scale", "1/127.5", "--mean", "1", "--bgr", "--floor", "text>=0.98", "--objective", "latency")

    def step(self):
        """A training step of resnet8 on 32 pictures beside PyTorch's: seconds with two threads, and processor time with one, which other processes
        disturb least. Ours is what two more epochs cost, PyTorch's the 20th percentile; the least of three each."""
        python = os.environ.get("TORCH")
        if not python:
            raise Left("TORCH names no Python that has torch")
        model, cifar = self.data(f"models/{RESNET}.onnx"), self.data("data/cifar10/train_5000.bin")
        for threads, what, column in ((2, "two threads", 0), (1, "one thread, processor time", 1)):
            ours, theirs = [], []
            for _ in range(3):
                took = [self.run("distill", "--student", model, "--norm", "frozen", "--data", cifar, "--limit", "640", "--epochs", str(e), "--threads", str(threads),
                                 "-o", self.folder + "/step.onnx")[1 + column] for e in (1, 3)]
                ours.append((took[1] - took[0]) / 40 * 1e3)
                p = subprocess.run([python, HERE + "/torchstep.py", "40", str(threads)], capture_output=True, text=True, check=True, env=dict(os.environ, OMP_NUM_THREADS=str(threads)))
                theirs.append(float(p.stdout.split()[column]))
            ratio = min(theirs) / min(ours)
            self.row(f"training step of {RESNET}, batch 32", f"{what}: {min(ours):.1f} ms, PyTorch {min(theirs):.1f} ms: {ratio:.2f} of its speed (0.7)", speed=ratio >= .7)


def main():
    b, words = Bench(sys.argv[1], sys.argv[2]), sys.argv[3:]
    rows = {"digits": b.digits, "resnet8": b.resnet8, "int8": b.int8, "int4": b.int4, "tune-resnet8": b.tune_resnet8, "tune-squeezenet": b.tune_squeezenet, "tune-rec": b.tune_rec, "step": b.step}
    for w in words:
        if w not in rows:
            sys.exit(f"there is no row {w}; there are {', '.join(rows)}")
    for name, row in rows.items():
        if words and name not in words or not words and name == "step":
            continue
        try:
            row()
        except Left as e:
            print(f"{name:44} left out: {e}", flush=True)
        except (RuntimeError, subprocess.CalledProcessError, OSError) as e:
            print(f"{name:44} {str(e)[:300]}", flush=True)
            b.missed += 1
    sys.exit(1 if b.missed else 0)


main()
