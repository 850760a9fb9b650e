import sys as _sys

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

RESOLVERS = {'': None, 'plain': OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, 'reference': OpResolverType.BUILTIN_REF}


def layouts(path):
    """The orders of axes that onnxopt notes in the file; None where it has no such note."""
    with open(path, 'rb') as f:
        data = f.read()
    model = schema.Model.GetRootAs(data, 0)
    for i in range(model.MetadataLength()):
        m = model.Metadata(i)
        if m.Name() == b'onnxopt.layout':
            return json.loads(bytes(model.Buffers(m.Buffer()).DataAsNumpy()))
    return None


def real(a, details):
    """Integers with a scale as the numbers they stand for."""
    q = details['quantization_parameters']
    if a.dtype.kind not in 'iu' or len(q['scales']) != 1:
        return a
    return ((a.astype(np.float64) - float(q['zero_points'][0])) * float(q['scales'][0])).astype(np.float32)


def last(shape, other):
    """Whether a shape is another one with its channels last."""
    return len(shape) in (3, 4) and [shape[0], *shape[2:], shape[1]] == list(other) and list(shape) != list(other)


def load(path, options):
    notes = layouts(path)
    wanted = options.get('layers') or []
    more = {}
    resolver = RESOLVERS['plain' if wanted else options.get('mode', '')]  # a delegate hides what it computes
    if resolver is not None:
        more['experimental_op_resolver_type'] = resolver
    m = Interpreter(model_path=path, num_threads=options.get('threads') or 1, experimental_preserve_all_tensors=bool(wanted), **more)
    m.allocate_tensors()
    ops, parts, taken = partitions(m._get_ops_details())
    by_name = {}
    for d in m.get_tensor_details():
        by_name.setdefault(d['name'], d)
    signatures = m.get_signature_list()
    shapes_in = options.get('inputs') or {}
    ports_in, ports_out = ports(m, signatures)
    ports_in = matched(ports_in, list(shapes_in))
    ports_out = matched(ports_out, options.get('outputs') or [])
    perms = (notes or {}).get('input', {})
    order_out = (notes or {}).get('output', {})
    shapes_out = options.get('output_shapes') or {}

    def run(feeds):
        for name, d in ports_in.items():
            a = feeds[name]
            if name in perms:
                a = a.transpose(perms[name])
            elif notes is None and last(a.shape, d['shape']):
                a = np.moveaxis(a, 1, -1)
            m.set_tensor(d['index'], np.array(a, dtype=d['dtype'], order='C'))
        m.invoke()
        outputs = {}
        for name, d in ports_out.items():
            a = m.get_tensor(d['index']).copy()
            if name in order_out:
                a = a.transpose(np.argsort(order_out[name]))
            elif notes is None and last(shapes_out.get(name, []), a.shape):
                a = np.moveaxis(a, -1, 1)
            outputs[name] = a
        layers = {}
        for name in wanted:
            d = by_name.get(name)
            if d is not None and name not in outputs:
                layers[name] = real(m.get_tensor(d['index']).copy(), d)
        return outputs, layers

    steps = {}
    for name in wanted:
        q = by_name.get(name, {}).get('quantization_parameters', {}).get('scales', [])
        if len(q) == 1:
            steps[name] = float(q[0])
    shapes = {}
    for name, d in ports_in.items():
        shape = [int(x) for x in d['shape']]
        if name in perms:
            shape = [shape[i] for i in np.argsort(perms[name])]
        shapes[name] = shape if name in perms or notes is not None else []
    return run, {'operators': ops, 'delegates': parts, 'delegated': taken, 'steps': steps, 'shapes': shapes}


def partitions(details):
    """How many operators the file has, how many parts of the graph delegates took, and how many of the operators lie in these: what a
    part's results are computed from, back to its operands."""
    ops = [o for o in details if 'DELEGATE' not in o['op_name'].upper()]
    parts = [o for o in details if 'DELEGATE' in o['op_name'].upper()]
    makers = {int(t): i for i, o in enumerate(ops) for t in o['outputs']}
    taken = set()
    for p in parts:
        given, todo, seen = {int(t) for t in p['inputs']}, [int(t) for t in p['outputs']], set()
        while todo:
            i = makers.get(todo.pop())
            if i is None or i in seen:
                continue
            seen.add(i)
            todo += [int(t) for t in ops[i]['inputs'] if int(t) not in given]
        taken |= seen
    return len(ops), len(parts), len(taken)


def ports(m, signatures):
    """Inputs and outputs by name: those of the signature, else of the tensors."""
    details_in = {d['index']: d for d in m.get_input_details()}
    details_out = {d['index']: d for d in m.get_output_details()}
    if len(signatures) == 1:
        runner = m.get_signature_runner(next(iter(signatures)))
        ins, outs = runner.get_input_details(), runner.get_output_details()
        if {d['index'] for d in ins.values()} == set(details_in) and {d['index'] for d in outs.values()} == set(details_out):
            return ins, outs
    return {d['name']: d for d in details_in.values()}, {d['name']: d for d in details_out.values()}


def matched(ports, names):
    """Ports by the names of the model that the file was made of: by name, with what converters add left out, or by place."""
    if not names or set(names) == set(ports):
        return ports
    short = {}
    for k, v in ports.items():
        k = k.removeprefix('serving_default_')
        short[k.rsplit(':', 1)[0] if k.rsplit(':', 1)[-1].isdigit() else k] = v
    if set(names) <= set(short):
        return {n: short[n] for n in names}
    if len(names) != len(ports):
        raise ValueError(f'it has {len(ports)} of {sorted(ports)}, not {sorted(names)}')
    return dict(zip(names, ports.values()))


serve(load)
