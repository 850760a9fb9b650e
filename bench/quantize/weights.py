"""Rows of bench/quantize about weights and widths: int4 of a sentence encoder, float16 of every model, models that are quantized in part, what
ONNX Runtime makes of convolutions, and, with --large, the memory that quantizing a generated decoder takes.

    weights.py ONNXOPT [--shared DIR] [--lib LIBONNXRUNTIME] [--rows int4,float16,part,graph,large] [--large DIR]

Needs onnx, onnxruntime and numpy; peers are what onnxruntime itself brings. Prints a table for each row group and exits with 1 where one of
our figures misses its bound."""
import argparse, glob, logging, os, subprocess, sys, tempfile, time

import numpy as np
import onnx
import onnxruntime as ort

DT = {'tensor(float)': np.float32, 'tensor(int64)': np.int64, 'tensor(int32)': np.int32, 'tensor(float16)': np.float16, 'tensor(bool)': bool,
      'tensor(uint8)': np.uint8, 'tensor(int8)': np.int8, 'tensor(double)': np.float64}
SIZES = {'silero-vad': {'input': [1, 512], 'state': [2, 1, 128]}, 'tract-byte-bidi-lstm': {'input': [1, 32]}}


def session(path):
    so = ort.SessionOptions()
    so.log_severity_level = 4
    so.intra_op_num_threads = 1
    return ort.InferenceSession(path, so, providers=['CPUExecutionProvider'])


def feeds(s, name):
    r = np.random.default_rng(0)
    f = {}
    for i in s.get_inputs():
        shape = SIZES.get(name, {}).get(i.name) or [d if isinstance(d, int) and d > 0 else (1 if k == 0 else 64) for k, d in enumerate(i.shape)]
        d = DT[i.type]
        if i.name == 'sr':
            f[i.name] = np.array(16000, np.int64)
        elif np.issubdtype(d, np.floating):
            f[i.name] = r.standard_normal(shape).astype(d)
        else:
            f[i.name] = r.integers(0, 2, shape).astype(d)
    return f


def drift(want, got):
    worst = 0.0
    for a, b in zip(want, got):
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype.kind != 'f' or not a.size:
            continue
        a, b = a.astype(np.float64), b.astype(np.float64)
        if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
            return float('inf')
        worst = max(worst, float(np.nanmax(np.abs(a - b))) / max(float(np.nanmax(np.abs(a))), 1e-6))
    return worst


def valid(path, name, reference):
    """(state, drift) of a model file: checked, loaded and run as a child, because ONNX Runtime may crash. rejected: by the checker only"""
    with tempfile.TemporaryDirectory() as d:
        out = os.path.join(d, 'd.npy')
        p = subprocess.run([sys.executable, __file__, '--child', path, name, reference, out], capture_output=True, text=True)
        if p.returncode < 0:
            return 'crashes', float('nan')
        if p.returncode:
            return 'invalid', float('nan')
        return ('rejected' if 'rejected' in p.stdout else 'valid'), float(np.load(out))


def child(path, name, reference, out):
    try:
        onnx.checker.check_model(path, full_check=True)
    except onnx.checker.ValidationError:
        print('rejected') # by the checker, although ONNX Runtime may take it
    a, b = session(reference), session(path)
    f = feeds(a, name)
    types = {i.name: DT[i.type] for i in b.get_inputs()}
    want = a.run(None, f)
    got = b.run(None, {k: v.astype(types[k]) for k, v in f.items() if k in types})
    np.save(out, drift(want, got))


def opt(binary, pipeline, src, dst, *more):
    t = time.time()
    p = subprocess.run([binary, '-p', pipeline, src, '-o', dst, '--verify=off', *more], capture_output=True, text=True)
    return p.returncode, time.time() - t, p.stderr.strip()


def size(path):
    return sum(os.path.getsize(p) for p in [path, *glob.glob(os.path.splitext(path)[0] + '-*.onnxdata')])


def weights_share(src):
    """share of a file that is float weights: what float16 can halve"""
    m = onnx.load(src)
    n = 0
    def graph(g):
        nonlocal n
        for t in g.initializer:
            n += t.data_type == 1 and 4 * int(np.prod(t.dims, dtype=np.int64))
        for x in g.node:
            for a in x.attribute:
                if a.type == onnx.AttributeProto.GRAPH:
                    graph(a.g)
                elif a.type == onnx.AttributeProto.GRAPHS:
                    for s in a.graphs:
                        graph(s)
                elif a.type == onnx.AttributeProto.TENSOR and a.t.data_type == 1:
                    n += 4 * int(np.prod(a.t.dims, dtype=np.int64))
    graph(m.graph)
    return n / os.path.getsize(src)


def float16(a, d):
    """float16 of every model, against onnxruntime.transformers.float16"""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    print(f'{"float16":28s} {"ours":>6s} {"bound":>6s} {"drift":>8s}        {"peer":>6s} {"drift":>8s}')
    ok = True
    for src in sorted(glob.glob(f'{a.shared}/models/*.onnx')):
        name, dst = os.path.basename(src)[:-5], f'{d}/ours.onnx'
        bound = 1 - weights_share(src) / 2 + 0.03 + 600 / os.path.getsize(src)
        rc, _, err = opt(a.onnxopt, 'precision{to=float16}', src, dst)
        state, x = ('fails', 0) if rc else valid(dst, name, src)
        ratio = size(dst) / size(src)
        good = state == 'valid' and ratio <= bound
        ok = ok and good
        row = f'{name:28s} {ratio:6.3f} {bound:6.3f} {x:8.1e} {state:9s}'
        try:
            m = convert_float_to_float16(onnx.load(src), keep_io_types=True)
            onnx.save(m, f'{d}/peer.onnx')
            state, x = valid(f'{d}/peer.onnx', name, src)
            row += f'{size(d + "/peer.onnx") / size(src):6.3f} {x:8.1e} {state}'
        except Exception as e:
            row += f'   fails: {str(e).splitlines()[0][:60]}'
        print(row + ('' if good else '   MISSED'), flush=True)
    return ok


def part(a, d):
    """models that are quantized in part are never bigger and always valid"""
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.transformers.float16 import convert_float_to_float16
    print('\n' + f'{"quantized in part":28s} {"what":34s} {"size":>6s} {"drift":>8s}')
    ok = True
    for name in ['resnet8-cifar10-int8qdq', 'mnist-ort-dynquant', 'tract-qlstm']:
        src = f'{a.shared}/models/{name}.onnx'
        for pipeline in ['precision{to=float16}', 'precision{to=float16 weights-only=true}', 'quantize{mode=dynamic}', 'quantize{mode=weights}',
                         'quantize{mode=weights form=qdq}', 'requantize{form=qoperator}', 'requantize{activations=u8}', 'dequantize']:
            dst = f'{d}/part.onnx'
            rc, _, err = opt(a.onnxopt, pipeline, src, dst)
            if rc:
                print(f'{name:28s} {pipeline:34s} refused: {err.splitlines()[-1][:90]}')
                continue
            state, x = valid(dst, name, src)
            ratio = size(dst) / size(src)
            good = state == 'valid' and (ratio <= 1.02 or pipeline == 'dequantize') # which is asked to make it bigger
            ok = ok and good
            print(f'{name:28s} {pipeline:34s} {ratio:6.3f} {x:8.1e} {state}' + ('' if good else '   MISSED'), flush=True)
        for what in ['quantize_dynamic', 'float16']:
            dst = f'{d}/peer.onnx'
            try:
                if what == 'float16':
                    onnx.save(convert_float_to_float16(onnx.load(src), keep_io_types=True), dst)
                else:
                    quantize_dynamic(src, dst)
                state, x = valid(dst, name, src)
                print(f'{name:28s} {"peer: onnxruntime " + what:34s} {size(dst) / size(src):6.3f} {x:8.1e} {state}', flush=True)
            except Exception as e:
                print(f'{name:28s} {"peer: onnxruntime " + what:34s} fails: {str(e).splitlines()[0][:60] if str(e) else type(e).__name__}')
    return ok


def lowered(path, d):
    """(convolutions in integers, in float) of the graph that ONNX Runtime makes of a model"""
    so = ort.SessionOptions()
    so.log_severity_level, so.optimized_model_filepath = 4, f'{d}/optimized.onnx'
    ort.InferenceSession(path, so, providers=['CPUExecutionProvider'])
    have = [n.op_type for n in onnx.load(so.optimized_model_filepath).graph.node]
    return sum(t in ('QLinearConv', 'ConvInteger') for t in have), sum(t in ('Conv', 'FusedConv', 'NhwcFusedConv') for t in have)


def graph(a, d):
    """every convolution that is quantized is one of integers in the graph that ONNX Runtime makes of the model, none is left in float but those
    that quantize says, and nothing in the file is unread"""
    print('\n' + f'{"in ONNX Runtime":28s} {"Conv":>5s} {"quantized":>10s} {"in integers":>12s} {"float":>6s} {"unread":>7s}')
    ok = True
    for src in sorted(glob.glob(f'{a.shared}/models/*.onnx')):
        name, dst, calib = os.path.basename(src)[:-5], f'{d}/graph.onnx', f'{d}/{os.path.basename(src)}.calib'
        try:
            f = feeds(session(src), name)
        except Exception:
            continue
        os.makedirs(calib)
        for i in range(4):
            np.savez(f'{calib}/{i}.npz', **{k: (v * (1 + i) / 4).astype(v.dtype) if v.dtype == np.float32 else v for k, v in f.items()})
        rc, _, err = opt(a.onnxopt, 'quantize{mode=static objective=size protect=0}', src, dst, '--calib', calib, '--cache', 'none')
        if rc:
            print(f'{name:28s} fails: {err.splitlines()[-1][:90]}')
            ok = False
            continue
        g = onnx.load(dst).graph
        by = {o: n for n in g.node for o in n.output}
        from_integers = lambda v: v in by and by[v].op_type == 'DequantizeLinear'
        convs = [n for n in g.node if n.op_type == 'Conv']
        quantized = [n for n in convs if from_integers(n.input[0]) and from_integers(n.input[1])]
        if not convs:
            continue
        read = {i for n in g.node for i in n.input} | {o.name for o in g.output}
        def captured(nodes):
            for n in nodes:
                for x in n.attribute:
                    for s in [x.g] * (x.type == onnx.AttributeProto.GRAPH) + list(x.graphs):
                        read.update(i for k in s.node for i in k.input)
                        read.update(o.name for o in s.output)
                        captured(s.node)
        captured(g.node)
        unread = [i.name for i in g.initializer if i.name not in read] + [n.output[0] for n in g.node if n.op_type == 'Constant' and n.output[0] not in read]
        integer, left = lowered(dst, d)
        if 'QuantizeLinear' in {n.op_type for n in onnx.load(src).graph.node}: # as it came, but not worse
            good = integer >= lowered(src, d)[0] and not unread
        elif not quantized:
            print(f'{name:28s} {len(convs):5d} {0:10d}   {err.splitlines()[-1][:60] if "nothing" in err.splitlines()[-1] else next((l.strip() for l in err.splitlines() if "float:" in l or "nothing" in l), "")[:90]}')
            continue
        else:
            good = integer == len(quantized) and left == len(convs) - len(quantized) and not unread
        ok = ok and good
        print(f'{name:28s} {len(convs):5d} {len(quantized):10d} {integer:12d} {left:6d} {len(unread):7d}' + ('' if good else '   MISSED'), flush=True)
    return ok


def spearman(a, model, half):
    p = subprocess.run([a.onnxopt, 'eval', model, '--data', f'{a.shared}/data/sts/stsb-en-{half}.trimids.tsv', '--metric', 'spearman',
                        '--engine', 'ort', *(['--ort-lib', a.lib] if a.lib else [])], capture_output=True, text=True)
    try:
        return float(p.stdout.split()[1])
    except (IndexError, ValueError):
        return float('nan')


def int4(a, d):
    """a sentence encoder in 4 bits, embeddings included"""
    src = f'{a.shared}/models/minilm-l2-trimvocab-fp32.onnx'
    base = {h: spearman(a, src, h) for h in ('dev', 'test')}
    print('\n' + f'{"int4 of minilm-l2":36s} {"size":>6s} {"dev":>7s} {"test":>7s} {"seconds":>8s}')
    print(f'{"float32":36s} {1:6.3f} {base["dev"]:7.4f} {base["test"]:7.4f}')
    ok = True
    for options in ['algorithm=rtn', 'algorithm=gptq', 'algorithm=awq', 'algorithm=rtn form=qdq', 'algorithm=rtn block=64', 'algorithm=rtn bits=8']:
        dst = f'{d}/int4.onnx'
        more = [] if 'rtn' in options else ['--calib', f'{a.shared}/data/sts/stsb-en-dev.trimids.tsv', '--calib-limit', '128']
        rc, t, err = opt(a.onnxopt, f'quantize{{mode=weights {options}}}', src, dst, *more)
        if rc:
            print(f'{options:36s} fails: {err.splitlines()[-1][:80]}')
            ok = False
            continue
        s = {h: spearman(a, dst, h) for h in ('dev', 'test')}
        ratio = size(dst) / size(src)
        main = options in ('algorithm=rtn', 'algorithm=gptq', 'algorithm=awq')
        good = not main or ratio <= 0.17 and all(abs(s[h] - base[h]) <= 0.005 for h in s)
        ok = ok and good
        print(f'{options:36s} {ratio:6.3f} {s["dev"]:7.4f} {s["test"]:7.4f} {t:8.1f}' + ('' if good else '   MISSED'), flush=True)
    try:
        from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
        for ops in [('MatMul',), ('MatMul', 'Gather')]:
            t = time.time()
            c = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=False, op_types_to_quantize=ops)
            q = MatMulNBitsQuantizer(onnx.load(src), algo_config=c)
            q.process()
            q.model.save_model_to_file(f'{d}/peer.onnx')
            name = f'onnxruntime MatMulNBits {"+".join(ops)}'
            state, _ = valid(f'{d}/peer.onnx', 'minilm', src)
            s = {h: spearman(a, f'{d}/peer.onnx', h) if state == 'valid' else float('nan') for h in ('dev', 'test')}
            print(f'{name:36s} {size(d + "/peer.onnx") / size(src):6.3f} {s["dev"]:7.4f} {s["test"]:7.4f} {time.time() - t:8.1f} {state}', flush=True)
    except Exception as e:
        print(f'{"onnxruntime MatMulNBits":36s} fails: {(str(e).splitlines() or [type(e).__name__])[0][:80]}')
    return ok


def anonymous(cmd):
    """(exit code, seconds, peak of anonymous memory in MB) of a command"""
    p, most, t = subprocess.Popen(cmd, stdout=subprocess.DEVNULL), 0, time.time()
    while p.poll() is None:
        try:
            for line in open(f'/proc/{p.pid}/status'):
                if line.startswith('RssAnon'):
                    most = max(most, int(line.split()[1]))
        except OSError:
            pass
        time.sleep(0.02)
    return p.returncode, time.time() - t, most / 1024


def large(a, d):
    """a decoder of 4.2 GB in at most 64 MB plus 3 times the largest tensor; DIR keeps it from run to run"""
    src, dst = f'{a.large}/large.onnx', f'{a.large}/large-int4.onnx'
    if not os.path.exists(src):
        subprocess.run(['go', 'run', './bench/quantize/decoder', '-o', src], check=True, cwd=os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
    biggest = max(int(np.prod(t.dims, dtype=np.int64)) * 4 for t in onnx.load(src, load_external_data=False).graph.initializer) / 2**20
    rc, t, mb = anonymous([a.onnxopt, '-p', 'quantize{mode=weights}', src, '-o', dst])
    s = session(dst)
    logits = s.run(['logits'], {i.name: np.array([[1, 2, 3]], np.int64) if i.name == 'input_ids' else np.ones((1, 3), np.int64) if i.name == 'attention_mask'
                                else np.zeros((1, i.shape[1], 0, i.shape[3]), np.float32) for i in s.get_inputs()})[0]
    good = rc == 0 and mb <= 64 + 3 * biggest and np.isfinite(logits).all()
    print(f'\ndecoder of {size(src) / 1e9:.1f} GB to {size(dst) / 1e9:.2f} GB: {t:.0f} s, {mb:.0f} MB of anonymous memory (bound {64 + 3 * biggest:.0f}), '
          f'ONNX Runtime loads and runs it' + ('' if good else '   MISSED'))
    return good


def main():
    if sys.argv[1:2] == ['--child']:
        return child(*sys.argv[2:])
    p = argparse.ArgumentParser()
    p.add_argument('onnxopt')
    p.add_argument('--shared', default=os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../../shared'))
    p.add_argument('--lib', default=next(iter(glob.glob(os.path.join(os.path.dirname(ort.__file__), 'capi/libonnxruntime.so*'))), ''))
    p.add_argument('--rows', default='int4,float16,part,graph')
    p.add_argument('--large', default='', metavar='DIR')
    a = p.parse_args()
    logging.disable(logging.WARNING) # peers log each node
    rows = a.rows.split(',') + (['large'] if a.large else [])
    with tempfile.TemporaryDirectory() as d:
        ok = [globals()[r](a, d) for r in ('int4', 'float16', 'part', 'graph', 'large') if r in rows]
    sys.exit(0 if all(ok) else 1)


if __name__ == '__main__':
    main()
