"""The rows of the table and what they are held to. Called by run. Further passes add rows to ROWS."""
import json
import re
import subprocess
import sys

import numpy as np

import measure

# Model, how its calibration and evaluation data are read, and the metric. Limits keep a row to a minute or two.
MODELS = {
    "resnet8-cifar10": dict(calib="cifar10/calib_500.bin", data="cifar10/test_2000.bin", metric="top1"),
    "mnist-8": dict(calib="mnist", calib_flags=["--calib-limit", "500"], data="mnist", metric="top1"),
    "squeezenet-fp16-winml": dict(calib="imagenet300/calib", data="imagenet300/val", flags=["--preset", "caffe-bgr"], metric="top1"),
    "minilm-l2-trimvocab-fp32": dict(calib="sts/stsb-en-dev.trimids.tsv", calib_flags=["--calib-limit", "100"], data="sts/stsb-en-test.trimids.tsv", metric="spearman"),
    "ppocrv4-rec": dict(calib="ocr/lines", calib_flags=["--calib-limit", "60"], data="ocr/lines", metric="agreement", data_flags=["--limit", "100"],
                        flags=["--resize", "320x48", "--scale", "1/127.5", "--mean", "1", "--bgr"]),
}

# Model, pipeline, and the bounds of loss (points), latency and seconds; None: shown, not held to anything.
ROWS = [
    ("resnet8-cifar10", "decompose{macs=0.5}", 16, 0.70, 5),
    ("resnet8-cifar10", "decompose{method=spatial-svd macs=0.5}", 16, 0.70, 5),
    ("resnet8-cifar10", "decompose{method=cp macs=0.5}", None, None, None),
    ("resnet8-cifar10", "decompose{method=tucker macs=0.5}", None, None, None),
    ("resnet8-cifar10", "decompose{method=svd macs=0.5}", None, None, None),
    ("resnet8-cifar10", "prune{sparsity=0.5}", 0.7, None, 5),
    ("resnet8-cifar10", "prune{sparsity=0.7}", 4, None, 5),
    ("resnet8-cifar10", "prune{pattern=2:4}", 3, None, 5),
    ("resnet8-cifar10", "prune{unit=channel macs=0.75}", 6, 0.80, 5),
    ("resnet8-cifar10", "prune{unit=channel macs=0.5}", 17, 0.62, 5),
    ("mnist-8", "prune{unit=channel macs=0.5}", None, None, None),
    ("mnist-8", "prune{sparsity=0.7}", None, None, None),
    ("minilm-l2-trimvocab-fp32", "prune{unit=channel ratio=0.25}", None, None, None),
    ("squeezenet-fp16-winml", "prune{unit=channel macs=0.75}", None, None, None),
    ("ppocrv4-rec", "prune{unit=channel macs=0.75}", None, None, None),
    ("mnist-8", "decompose{macs=0.5}", None, None, None),
    ("minilm-l2-trimvocab-fp32", "decompose{macs=0.5}", None, None, None),
    ("squeezenet-fp16-winml", "decompose{macs=0.7}", None, None, None),
    ("ppocrv4-rec", "decompose{macs=0.7}", None, None, None),
]


def evaluate(binary, model, shared, m, reference):
    flags = ["--data", f"{shared}/data/{m['data']}", "--metric", m["metric"], *m.get("flags", []), *m.get("data_flags", [])]
    if m["metric"] == "agreement":
        flags += ["--reference", reference]
    p = subprocess.run([binary, "eval", str(model), "--json", *flags], capture_output=True, text=True)
    if p.returncode:
        raise RuntimeError(p.stderr.strip())
    return 100 * json.loads(p.stdout)["metrics"][0]["value"]


def feed(model):
    """Inputs of the sizes that the model declares; open dimensions are 1, of sequences 32, of text lines 48 and 320."""
    rng = np.random.default_rng(0)
    r = {}
    for i in measure.session(model).get_inputs():
        shape = [d if isinstance(d, int) and d > 0 else (1 if k == 0 else ((48, 320)[k - 2] if len(i.shape) == 4 else 32)) for k, d in enumerate(i.shape)]
        kind = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64, "tensor(int32)": np.int32}[i.type]
        r[i.name] = rng.integers(1, 2, shape).astype(kind) if "int" in i.type else rng.standard_normal(shape).astype(kind)
    return r


def main():
    folder, shared, words = sys.argv[1], sys.argv[2], sys.argv[3:]
    if "--train" in words:  # labels that choices may be made with: they are in neither calib_500 nor test_2000
        words.remove("--train")
        MODELS["resnet8-cifar10"]["data"] = "cifar10/train_5000.bin"
    binary, bad, base = folder + "/onnxopt", 0, {}
    print(f"{'model':26} {'pipeline':40} {'MACs':>7} {'bytes':>7} {'before':>7} {'after':>7} {'loss':>6} {'latency':>8} {'seconds':>8} {'CPU s':>6}")
    notes = []
    for name, pipeline, loss, ratio, seconds in ROWS:
        if words and not any(w in name or w in pipeline for w in words):
            continue
        m, model, out = MODELS[name], f"{shared}/models/{name}.onnx", f"{folder}/out.onnx"
        try:
            took, cpu, text = measure.run(binary, model, pipeline, out, "--calib", f"{shared}/data/{m['calib']}", *m.get("calib_flags", []), *m.get("flags", []),
                                     "--verify=off", "--remarks")
            if name not in base:
                base[name] = evaluate(binary, model, shared, m, model)
            after = evaluate(binary, out, shared, m, model)
            lat, _ = measure.latency(model, out, feed(model))
        except RuntimeError as e:
            print(f"{name:26} {pipeline:40} {str(e)[:160]}", flush=True)
            bad += 1
            continue
        change = {w: re.search(rf"^{w} .* ([+-][\d.]+) %", text, re.M) for w in ("MACs", "file size")}
        show = {w: (c.group(1) + "%" if c else "-") for w, c in change.items()}
        if left := re.search(r"([\d.]+)( %)? of the (?:MACs|multiply-accumulates) remain", text):  # counted with the sizes of the data
            show["MACs"] = f"{float(left.group(1)) * (1 if left.group(2) else 100) - 100:+.1f}%"
        missed = [t for v, t, bound in ((base[name] - after, "loss", loss), (lat, "latency", ratio), (took, "seconds", seconds)) if bound is not None and v > bound + 1e-9]
        bad += bool(missed)
        print(f"{name:26} {pipeline:40} {show['MACs']:>7} {show['file size']:>7} {base[name]:7.2f} {after:7.2f} {base[name] - after:6.2f} {lat:8.2f} {took:8.1f} {cpu:6.1f}"
              + ("  MISSED " + ", ".join(missed) if missed else ""), flush=True)
        why = re.findall(r"^remark: (?:decompose|prune): (decompose|refit|channel|weight|repair) not applied at (.*?), because (.*)", text, re.M)
        if why:
            notes.append((name, pipeline, why))
    for name, pipeline, why in notes:
        print(f"\n{name}, {pipeline}: left as they were")
        for rule, at, reason in why[:40]:
            print(f"  {rule:9} {at[:60]:60}  {reason}")
        if len(why) > 40:
            print(f"  and {len(why) - 40} more")
    sys.exit(1 if bad else 0)


main()
