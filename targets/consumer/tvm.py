import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx


def load(path, options):
    model = onnx.load(path)
    module = from_onnx(model, keep_params_in_input=False)
    machine = relax.VirtualMachine(tvm.compile(module, target='llvm'), tvm.cpu())
    given = {i.name for i in model.graph.initializer}
    ins = [i.name for i in model.graph.input if i.name not in given]
    outs = [o.name for o in model.graph.output]

    def run(feeds):
        got = machine['main'](*[tvm.runtime.tensor(np.array(feeds[n], order='C')) for n in ins])
        got = [got] if hasattr(got, 'numpy') else list(got)
        return {n: g.numpy() for n, g in zip(outs, got)}, {}

    return run, {}


serve(load)
