"""Holds optimized models to onnx.checker and ONNX Runtime. Called by the Go test of the same purpose.

    python3 compare.py JOBS.json

JOBS.json: a list of {"name", "before", "after", "tolerance", "shapes": {input: dims}, "logits": bool}. With "logits" an output that a
Sigmoid makes is compared before it: ONNX Runtime's Sigmoid is a rational approximation whose error near 0 is larger than the tolerance. Each model is run once in ONNX Runtime without its own
optimizations, before and after, on the inputs of test_data_set_0 beside "before" if there are any, otherwise on seeded ones. With
"recorded", a model that ONNX Runtime loads only afterwards is held to the outputs that are recorded there, within 1e-3. Prints a line for each job that fails and a count; exits 1 if one fails.
"""
import glob, json, math, os, sys
import numpy as np
import onnx
import onnxruntime as ort

TYPES = {'tensor(float)': np.float32, 'tensor(int64)': np.int64, 'tensor(int32)': np.int32, 'tensor(double)': np.float64,
         'tensor(float16)': np.float16, 'tensor(bool)': bool, 'tensor(uint8)': np.uint8, 'tensor(int8)': np.int8,
         'tensor(int16)': np.int16, 'tensor(uint16)': np.uint16, 'tensor(uint32)': np.uint32, 'tensor(uint64)': np.uint64}


def session(model):
    o = ort.SessionOptions()
    o.log_severity_level = 4
    o.intra_op_num_threads = 2
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, o, providers=['CPUExecutionProvider'])


def recorded(path, model):
    """The inputs that the test data set holds, by name."""
    folder = os.path.join(os.path.dirname(path), 'test_data_set_0')
    weights = {i.name for i in model.graph.initializer}
    required = [i for i in model.graph.input if i.name not in weights]
    feeds = {}
    for f in glob.glob(folder + '/input_*.pb'):
        value = required[int(f.rsplit('_', 1)[1][:-3])]
        if value.type.HasField('tensor_type'):
            t = onnx.TensorProto()
            t.ParseFromString(open(f, 'rb').read())
            feeds[value.name] = onnx.numpy_helper.to_array(t)
        elif value.type.HasField('sequence_type'):
            t = onnx.SequenceProto()
            t.ParseFromString(open(f, 'rb').read())
            feeds[value.name] = onnx.numpy_helper.to_list(t)
        else:
            t = onnx.OptionalProto()
            t.ParseFromString(open(f, 'rb').read())
            feeds[value.name] = onnx.numpy_helper.to_optional(t)
    return feeds


def seeded(s, shapes):
    r, feeds = np.random.default_rng(0), {}
    for i in s.get_inputs():
        dims = shapes.get(i.name)
        if dims is None:
            dims = [d if isinstance(d, int) and d > 0 else (1 if k == 0 else 64) for k, d in enumerate(i.shape)]
        t = TYPES[i.type]
        if i.name == 'sr':
            feeds[i.name] = np.array(16000, np.int64)
        elif t is bool or np.issubdtype(t, np.integer):
            feeds[i.name] = r.integers(0, 2, dims).astype(t)
        else:
            feeds[i.name] = r.standard_normal(dims).astype(t)
    return feeds


def differ(a, b):
    """How far b is from a: max|a-b| / max(max|a|, 1e-6), infinite where they are not alike."""
    if isinstance(a, list):
        if not isinstance(b, list) or len(a) != len(b):
            return math.inf
        return max([differ(x, y) for x, y in zip(a, b)], default=0.0)
    if isinstance(a, dict) or a is None:
        return 0.0 if a == b else math.inf
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return math.inf
    if a.dtype.kind != 'f':
        return 0.0 if np.array_equal(a, b) else math.inf
    a, b = a.astype(np.float64), b.astype(np.float64)
    odd = ~np.isfinite(a)
    if not np.array_equal(a[odd], b[odd], equal_nan=True) or not np.isfinite(b[~odd]).all():
        return math.inf
    if odd.all():
        return 0.0
    a, b = a[~odd], b[~odd]
    return float(np.abs(a - b).max()) / max(float(np.abs(a).max()), 1e-6)


# What ONNX Runtime or its Python interface says where it cannot, whatever the model is.
UNABLE = ('NOT_IMPLEMENTED', 'Numpy type', 'Numpy_type', 'not a registered function/op', 'construct locale', 'is not defined for empty set',
          'layout_ == 0 was false', 'conv_integer.cc')


def held(job, model):
    """Whether ONNX Runtime runs the model afterwards; its outputs are then those that are recorded, or it is an error."""
    folder = os.path.join(os.path.dirname(job['before']), 'test_data_set_0')
    try:
        after = session(job['after'])
        got = after.run(None, recorded(job['before'], model))
    except Exception as e:
        if any(w in str(e) for w in UNABLE):
            return False
        raise
    for i, (slot, value) in enumerate(zip(model.graph.output, got)):
        if not slot.type.HasField('tensor_type'):
            continue
        t = onnx.TensorProto()
        t.ParseFromString(open(f'{folder}/output_{i}.pb', 'rb').read())
        d = differ(onnx.numpy_helper.to_array(t), value)
        if d > (5e-3 if t.data_type == onnx.TensorProto.FLOAT16 else 1e-3):
            raise ValueError(f'differs from what is recorded by {d:.3g}')
    return True


def before_sigmoid(path):
    """The model with the operand of each Sigmoid that makes an output as the output instead, under the output's name."""
    m = onnx.load(path)
    for o in m.graph.output:
        for n in m.graph.node:
            if n.op_type == 'Sigmoid' and n.output[0] == o.name:
                n.op_type = 'Identity'
    return m.SerializeToString()


def check(job):
    model = onnx.load(job['before'])
    onnx.checker.check_model(job['after'], full_check=True)
    try:
        before = session(job['before'])
    except Exception as e:
        if job.get('recorded') and held(job, model):
            return 'held to recorded outputs'
        return f'skipped: {str(e)[:100]}'  # ONNX Runtime does not know an operator; the checker's word has to do
    feeds = recorded(job['before'], model) or seeded(before, job.get('shapes') or {})
    try:
        want = before.run(None, feeds)
        after = session(job['after'])
    except Exception as e:
        if job.get('recorded') and (any(w in str(e) for w in UNABLE) or held(job, model)):
            return f'skipped: {str(e)[:60]}'
        raise
    if job.get('logits'):
        before, after = session(before_sigmoid(job['before'])), session(before_sigmoid(job['after']))
        want = before.run(None, feeds)
    face = lambda s: [[(i.name, i.type) for i in l] for l in (s.get_inputs(), s.get_outputs())]
    if face(before) != face(after):
        raise ValueError(f'interface: {face(before)} became {face(after)}')
    d = max([differ(x, y) for x, y in zip(want, after.run(None, feeds))], default=0.0)
    half = any(t == 'tensor(float16)' for side in face(before) for _, t in side)
    if d > (max(job['tolerance'], 5e-3) if half else job['tolerance']):
        if job.get('recorded') and held(job, model):
            return 'held to recorded outputs, from which ONNX Runtime differs before'
        raise ValueError(f'differs by {d:.3g}')


def main():
    jobs, bad, skipped = json.load(open(sys.argv[1])), 0, {}
    for job in jobs:
        try:
            why = check(job)
            if why:
                skipped[why] = skipped.get(why, 0) + 1
        except Exception as e:
            bad += 1
            print(job['name'] + ':', str(e)[:300].replace('\n', ' '))
    for why, n in skipped.items():
        print(f'{n} only valid, {why}')
    print(f'{len(jobs) - bad}/{len(jobs)} valid and equal, {sum(skipped.values())} of them only valid: ONNX Runtime does not load the original')
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
