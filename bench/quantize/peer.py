"""peer.py TOOL MODEL CALIB OUT: runs a quantizer of others on the .npz samples of a folder."""
import glob, sys
import numpy as np
import onnx

tool, model, calib, out = sys.argv[1:5]
samples = [dict(np.load(p)) for p in sorted(glob.glob(calib + '/*.npz'))]
if tool.startswith('ort'):
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    ready = out + '.pre.onnx'
    try:
        quant_pre_process(model, ready)
    except Exception:
        quant_pre_process(model, ready, skip_symbolic_shape=True)

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.it = iter(samples)

        def get_next(self):
            return next(self.it, None)
    if tool == 'ort-dynamic':
        quantize_dynamic(ready, out, weight_type=QuantType.QInt8, per_channel=True)
    else:
        method = {'ort-minmax': CalibrationMethod.MinMax, 'ort-percentile': CalibrationMethod.Percentile}[tool]
        quantize_static(ready, out, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=method)
elif tool == 'nncf':
    import nncf
    m = onnx.load(model)
    if m.opset_import[0].version < 13:
        m = onnx.version_converter.convert_version(m, 13)
    onnx.save(nncf.quantize(m, nncf.Dataset(samples), subset_size=len(samples)), out)
else:
    import subprocess
    np.savez(out + '.calib.npz', **{k: np.concatenate([s[k] for s in samples]) for k in samples[0]})
    sys.exit(subprocess.run([sys.executable, '-m', 'onnxsim', model, out, '--static-quantize', '--calibration-dataset', out + '.calib.npz']).returncode)
