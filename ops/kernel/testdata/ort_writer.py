"""What ort_cases.py and ort_contrib_cases.py share: an archive of models of one node each, with random operands and what ONNX Runtime
(without optimizations, one thread) computes for them."""
import io
import tarfile

import numpy as np
import onnxruntime as ort
from onnx import helper as h
from onnx import numpy_helper as nh


class Writer:
    def __init__(self, path):
        self.out = tarfile.open(path, "w:gz", compresslevel=9)
        self.count, self.refused = 0, {}
        self.options = ort.SessionOptions()
        self.options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.options.log_severity_level = 4
        self.options.intra_op_num_threads = 1

    def add(self, name, data):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self.out.addfile(info, io.BytesIO(data))

    def emit(self, op, label, opsets, ir_version, ins, outs, domain=None, constants=(), crop=None, **attrs):
        """Adds a case, unless ONNX Runtime refuses the model. ins are arrays, None for an omitted one; outs are names, empty for an
        omitted one. constants are numbers of operands that are initializers. crop gives, by number of a result, the ends along its
        first axes behind which it is not specified; the model then has what is before."""
        ins = [np.asarray(x) if x is not None else None for x in ins]
        names = [f"x{k}" if x is not None else "" for k, x in enumerate(ins)]
        given = [(n, x) for k, (n, x) in enumerate(zip(names, ins)) if x is not None and k not in constants]
        inputs = [h.make_tensor_value_info(n, h.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in given]
        fixed = [nh.from_array(ins[k], names[k]) for k in constants if ins[k] is not None]
        nodes, used = [h.make_node(op, names, outs, domain=domain, **attrs)], [o for o in outs if o]
        for k, ends in (crop or {}).items():
            name, n = outs[k], len(ends)
            fixed += [nh.from_array(np.array(v, np.int64), f"{name}_{what}")
                      for what, v in [("starts", [0] * n), ("ends", list(ends)), ("axes", list(range(n)))]]
            nodes.append(h.make_node("Slice", [name] + [f"{name}_{what}" for what in ("starts", "ends", "axes")], [name + "_kept"]))
            used[used.index(name)] = name + "_kept"
        graph = h.make_graph(nodes, "g", inputs, [h.make_empty_tensor_value_info(o) for o in used], fixed)
        model = h.make_model(graph, opset_imports=opsets, ir_version=ir_version)
        try:
            session = ort.InferenceSession(model.SerializeToString(), self.options, providers=["CPUExecutionProvider"])
            results = session.run(None, dict(given))
        except Exception as e:
            self.refused.setdefault(op, []).append(str(e)[:300])
            return
        del model.graph.output[:]
        for o, v in zip(used, results):
            model.graph.output.append(h.make_tensor_value_info(o, h.np_dtype_to_tensor_dtype(v.dtype), v.shape))
        base = f"ort/{self.count:04d}_{label}/"
        self.count += 1
        self.add(base + "model.onnx", model.SerializeToString())
        for k, (_, x) in enumerate(given):
            self.add(f"{base}test_data_set_0/input_{k}.pb", nh.from_array(x).SerializeToString())
        for k, x in enumerate(results):
            self.add(f"{base}test_data_set_0/output_{k}.pb", nh.from_array(np.asarray(x)).SerializeToString())

    def close(self):
        """Ends the archive and says what was refused."""
        self.out.close()
        print(self.count, "cases; refused:", {k: len(v) for k, v in self.refused.items()})
