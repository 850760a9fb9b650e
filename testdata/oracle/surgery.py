"""Holds the passes and verbs that change the interface of models to onnx.checker and ONNX Runtime. Called by the Go test of the same purpose.

    python3 surgery.py JOBS.json

JOBS.json: {"command": path of onnxopt, "folder": where to write, "models": [{"name", "path", "shapes", "tolerance"}]}. Each model is run
once in ONNX Runtime with intermediate values as further outputs; what surgery makes of it is run on the same values and has to give the
same. Prints a line for each check that fails and counts; exits 1 if one fails.
"""
import json, os, subprocess, sys
import numpy as np
import onnx
import onnxruntime as ort
from compare import differ, recorded, seeded, session

counts, failures = {}, []


class Refused(Exception):
    pass


def onnxopt(command, *args):
    r = subprocess.run([command, *args], capture_output=True, text=True)
    if r.returncode == 1:
        raise Refused(r.stderr.strip().splitlines()[-1])
    if r.returncode != 0:
        raise ValueError(f'{args}: exit {r.returncode}: {r.stderr[-300:]}')


def valid(path):
    onnx.checker.check_model(path, full_check=True)
    return session(path)


def quoted(name):
    return '"' + name.replace('\\', '\\\\').replace('"', '\\"') + '"'


def exposed(path, names):
    """The model with values as further outputs, made without onnxopt."""
    m = onnx.load(path)
    have = {o.name for o in m.graph.output}
    m.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in have)
    return session(m.SerializeToString())


class Model:
    def __init__(self, job, command, folder):
        self.name, self.path, self.tolerance = job['name'], job['path'], job['tolerance']
        self.command, self.out = command, os.path.join(folder, 'out%d.onnx')
        self.proto = onnx.load(self.path)
        self.session = session(self.path)
        self.feeds = recorded(self.path, self.proto) or seeded(self.session, job.get('shapes') or {})
        consts = {i.name for i in self.proto.graph.initializer}
        depends, self.values = {i.name for i in self.session.get_inputs()}, []
        for n in self.proto.graph.node:
            if any(i in depends for i in n.input) and n.op_type not in ('Loop', 'Scan', 'If', 'SequenceEmpty', 'Shape'):
                depends.update(o for o in n.output if o)
                self.values.append(next(o for o in n.output if o))
        k = len(self.values)
        self.cuts = sorted({self.values[k // 3], self.values[2 * k // 3]}, key=self.values.index)
        outs = [o.name for o in self.session.get_outputs()]
        self.all = dict(zip(outs + [c for c in self.cuts if c not in outs], exposed(self.path, self.cuts).run(None, self.feeds)))
        self.outs = outs
        if any(getattr(v, 'dtype', None) == np.float16 for v in [*self.feeds.values(), *self.all.values()]):
            self.tolerance = max(self.tolerance, 5e-3)

    def make(self, *args, n=1):
        onnxopt(self.command, '--verify=off', *args, '-q') if args[0] not in ('split', 'extract') else onnxopt(self.command, args[0], '--verify=off', '-q', *args[1:])
        return [valid(self.out % (i + 1)) for i in range(n)]

    def run(self, s, feeds, want):
        got = dict(zip([o.name for o in s.get_outputs()], s.run(None, {i.name: feeds[i.name] for i in s.get_inputs()})))
        for name, w in want.items():
            d = differ(w, got[name])
            if d > self.tolerance:
                raise ValueError(f'{name} differs by {d:.3g}')
        return got

    def passes(self, pipeline):
        return self.make(self.path, '-p', pipeline, '-o', self.out % 1)[0]

    def originals(self):
        return {o: self.all[o] for o in self.outs}


def extract_outputs(m):
    for c in m.cuts:
        s, = m.make('extract', m.path, '--outputs', c, '-o', m.out % 1)
        m.run(s, m.feeds, {c: m.all[c]})


def extract_inputs(m):
    s, = m.make('extract', m.path, '--inputs', m.cuts[-1], '-o', m.out % 1)
    m.run(s, {**m.feeds, **m.all}, m.originals())


def split(m):
    at = [x for c in m.cuts for x in ('--at', c)]
    values = dict(m.feeds)
    for s in m.make('split', m.path, *at, '-o', m.out, n=len(m.cuts) + 1):
        values.update(m.run(s, values, {}))
    for o, w in m.originals().items():
        d = differ(w, values[o])
        if d > m.tolerance:
            raise ValueError(f'{o} differs by {d:.3g}')


def expose(m):
    s = m.passes('expose{values=[%s]}' % ','.join(quoted(c) for c in m.cuts))
    m.run(s, m.feeds, m.all)


def rename(m):
    faces = [i.name for i in m.session.get_inputs()] + [o for o in m.outs]
    new = {name: f'renamed {k}' for k, name in enumerate(dict.fromkeys(faces))}
    s = m.passes('rename{%s}' % ' '.join(f'{quoted(a)}={quoted(b)}' for a, b in new.items()))
    m.run(s, {new[k]: v for k, v in m.feeds.items()}, {new[k]: v for k, v in m.originals().items()})


def relayout(m):
    perms = {}
    for i in m.session.get_inputs():
        if m.feeds[i.name].ndim >= 3:
            perms[i.name] = (0, *range(2, m.feeds[i.name].ndim), 1)
    outs = {o: (0, *range(2, m.all[o].ndim), 1) for o in m.outs if hasattr(m.all[o], 'ndim') and m.all[o].ndim >= 3}
    if not perms and not outs:
        raise Refused('no input or output of rank 3')
    s = m.passes('relayout{%s}' % ' '.join(f'{quoted(n)}=[{",".join(map(str, p))}]' for n, p in {**perms, **outs}.items()))
    feeds = {n: np.ascontiguousarray(np.transpose(v, perms[n])) if n in perms else v for n, v in m.feeds.items()}
    m.run(s, feeds, {o: np.transpose(v, outs[o]) if o in outs else v for o, v in m.originals().items()})


def retype(m):
    floats = [i.name for i in m.session.get_inputs() if m.feeds[i.name].dtype == np.float32]
    if not floats:
        raise Refused('no input of type float')
    feeds = {n: v.astype(np.float16) if n in floats else v for n, v in m.feeds.items()}
    want = m.session.run(None, {n: v.astype(np.float32) if n in floats else v for n, v in feeds.items()})
    s = m.passes('retype{%s}' % ' '.join(f'{quoted(n)}=float16' for n in floats))
    m.run(s, feeds, dict(zip(m.outs, want)))


def set_shape(m):
    s = m.passes('set-shape{%s}' % ' '.join(f'{quoted(n)}=[{",".join(map(str, v.shape))}]' for n, v in m.feeds.items()))
    m.run(s, m.feeds, m.originals())


def free_batch(m):
    """With a batch of its own size and of three: the model computes each sample as before, unless it says that it cannot."""
    batched = [n for n, v in m.feeds.items() if v.ndim > 0 and v.shape[0] == 1]
    if len(batched) != 1 or len(m.feeds) != 1:
        raise Refused('not one input with a batch of one')
    if any(k.op_type in ('Scan', 'Loop', 'RNN', 'GRU', 'LSTM') for k in m.proto.graph.node):
        raise Refused('the first axis may be time')
    n, = batched
    s = m.passes('set-shape{%s=[0:batch_of_it]}' % quoted(n))
    m.run(s, m.feeds, m.originals())
    free = [o.name for o in s.get_outputs() if o.shape and o.shape[0] == 'batch_of_it']
    r = np.random.default_rng(1)
    v = m.feeds[n]
    samples = [v, np.flip(v, -1).copy(), r.permutation(v.reshape(-1)).reshape(v.shape).astype(v.dtype)]
    try:
        wants = [dict(zip(m.outs, m.session.run(None, {n: x}))) for x in samples]
    except Exception as e:
        raise Refused('the samples do not run')
    try:
        got = dict(zip([o.name for o in s.get_outputs()], s.run(None, {n: np.concatenate(samples)})))
    except Exception as e:
        raise ValueError('does not run with a batch of three: ' + str(e)[-200:])
    for o in free:
        want = np.concatenate([w[o] for w in wants])
        if differ(want, got[o]) > max(m.tolerance, 1e-4):
            raise ValueError(f'{o} of a batch of three differs by {differ(want, got[o]):.3g}')
    if not free:
        raise Refused('no output has the batch')


def randomize(m):
    s = m.passes('randomize{seed=3}')
    got = s.run(None, m.feeds)
    for o, w, g in zip(m.outs, m.originals().values(), got):
        if hasattr(w, 'shape') and w.shape != g.shape and len(w.shape) == len(g.shape) and not o.startswith('nonzero'):
            raise ValueError(f'{o} has the shape {g.shape} and had {w.shape}')
    weights = {i.name: onnx.numpy_helper.to_array(i) for i in m.proto.graph.initializer}
    for i in onnx.load(m.out % 1).graph.initializer:
        old, new = weights[i.name], onnx.numpy_helper.to_array(i)
        if old.shape != new.shape or old.dtype != new.dtype:
            raise ValueError(f'{i.name} was {old.dtype}{old.shape} and is {new.dtype}{new.shape}')
        if old.dtype == np.float32 and old.size > 1000 and old.std() > 0:
            if np.array_equal(old, new):
                raise ValueError(f'{i.name} is as it was')
            if abs(old.std() - new.std()) > 0.5 * old.std() or abs(old.mean() - new.mean()) > 0.5 * old.std():
                raise ValueError(f'{i.name}: mean {old.mean():.3g} and deviation {old.std():.3g} became {new.mean():.3g} and {new.std():.3g}')


def strip(m):
    s = m.passes('strip{metadata=true}')
    m.run(s, m.feeds, m.originals())
    p = onnx.load(m.out % 1)
    if p.doc_string or p.metadata_props or p.graph.doc_string or any(n.doc_string or n.metadata_props for n in p.graph.node):
        raise ValueError('documentation or metadata are left')


def inline(m):
    if not m.proto.functions:
        raise Refused('no functions')
    m.run(m.passes('inline'), m.feeds, m.originals())


checks = [extract_outputs, extract_inputs, split, expose, rename, relayout, retype, set_shape, free_batch, randomize, strip, inline]


def main():
    sys.path.insert(0, os.path.dirname(__file__))
    jobs = json.load(open(sys.argv[1]))
    skipped = 0
    for job in jobs['models']:
        try:
            m = Model(job, jobs['command'], jobs['folder'])
        except Exception as e:
            skipped += 1
            print(f'{job["name"]}: left out: {str(e)[:150]}'.replace('\n', ' '))
            continue
        for check in checks:
            c = counts.setdefault(check.__name__, [0, 0])
            try:
                check(m)
                c[0] += 1
            except Refused as e:
                c[1] += 1
                if '-v' in sys.argv:
                    print(f'{m.name}: {check.__name__}: not done: {str(e)[:250]}')
            except Exception as e:
                failures.append(f'{m.name}: {check.__name__}: {str(e)[:400]}'.replace('\n', ' '))
    for f in failures:
        print(f)
    for name, (done, refused) in counts.items():
        print(f'{name}: {done} hold, {refused} not done')
    print(f'{len(failures)} fail')
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
