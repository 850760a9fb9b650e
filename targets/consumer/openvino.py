import openvino as ov


def names(port, fallback):
    n = port.get_names()
    return n if n else {fallback}


def by_name(ports, outputs):
    """The model's names of ports: of two that are one value, both may have the names of one; those left over go to the ports left over."""
    r = []
    for have in ports:
        r.append(next((n for n in outputs if n in have and n not in r), None))
    left = [n for n in outputs if n not in r]
    return [n if n is not None else left.pop(0) if left else f'{i}' for i, n in enumerate(r)]


def load(path, options):
    core = ov.Core()
    model = core.read_model(path)
    wanted = options.get('layers') or []
    plain = len(model.outputs)
    shown = []
    have = set()
    for op in model.get_ordered_ops():
        for o in op.outputs():
            have |= o.get_names()
    taken = set()
    for o in model.outputs:
        taken |= o.get_names()
    for name in wanted:
        if name in have and name not in taken:
            shown.append(name)
    if shown:
        model.add_outputs(shown)
    config = {'INFERENCE_PRECISION_HINT': 'f32', 'INFERENCE_NUM_THREADS': options.get('threads') or 1}
    compiled = core.compile_model(model, 'CPU', config)
    request = compiled.create_infer_request()
    called = by_name([compiled.outputs[i].get_names() for i in range(plain)], options.get('outputs') or [])

    def run(feeds):
        ins = {}
        for i, port in enumerate(compiled.inputs):
            name = next((n for n in port.get_names() if n in feeds), None)
            ins[i] = feeds[name] if name else list(feeds.values())[i]
        got = request.infer(ins)
        r = {name: got[i].copy() for i, name in enumerate(called)}
        return r, {name: got[plain + i].copy() for i, name in enumerate(shown)}

    types = {}
    for op in compiled.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        if 'runtimePrecision' in info:
            kind = f"{info['layerType'].astype(str) if hasattr(info['layerType'], 'astype') else info['layerType']} {info['runtimePrecision'].astype(str) if hasattr(info['runtimePrecision'], 'astype') else info['runtimePrecision']}"
            types[kind] = types.get(kind, 0) + 1
    shapes = {}
    for port in compiled.inputs:
        dims = [d.get_length() if d.is_static else -1 for d in port.get_partial_shape()]
        for name in port.get_names():
            shapes[name] = dims
    return run, {'operators': sum(types.values()), 'types': types, 'shapes': shapes}


serve(load)
