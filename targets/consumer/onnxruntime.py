import onnxruntime


def load(path, options):
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = options.get('threads') or 1
    if options.get('mode') == 'plain':
        o.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, o, providers=['CPUExecutionProvider'])
    names = [x.name for x in session.get_outputs()]

    def run(feeds):
        return dict(zip(names, session.run(names, {k: feeds[k] for k in (i.name for i in session.get_inputs())}))), {}

    return run, {}


serve(load)
