"""Times and errors of scikit-learn, TensorLy and onnxopt's algebra on the same tensors. Called by run."""
import subprocess, sys, time
import numpy as np
import sklearn, tensorly
from sklearn.utils.extmath import randomized_svd
from tensorly.decomposition import parafac, partial_tucker
from tensorly.tenalg import multi_mode_dot

bin_dir, rounds = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)


def matrix(m, n, decay):
    """Gaussian, or with singular values 1/(1+i)**0.7 as trained layers have them."""
    a = rng.standard_normal((m, n)).astype(np.float32)
    if not decay:
        return a
    u, _, v = np.linalg.svd(a, full_matrices=False)
    return ((u * (1 + np.arange(n)) ** -0.7) @ v).astype(np.float32)


def tensor():
    """A convolution of CP rank 48 with 10% noise in the norm."""
    f = [rng.standard_normal((d, 48)) for d in (256, 256, 3, 3)]
    x = np.einsum("ar,br,cr,dr->abcd", *f)
    e = rng.standard_normal(x.shape)
    return (x + 0.1 * e * np.linalg.norm(x) / np.linalg.norm(e)).astype(np.float32)


def svd(x):
    u, s, v = randomized_svd(x, 128, random_state=0)
    return lambda: (u * s) @ v


def cp(sweeps):
    def f(x):
        c = parafac(x, 64, n_iter_max=sweeps, init="random", tol=0, random_state=0)
        return lambda: tensorly.cp_to_tensor(c)
    return f


def tucker(sweeps):
    def f(x):
        (core, factors), _ = partial_tucker(x, rank=[64, 64], modes=[0, 1], n_iter_max=sweeps, tol=0, init="svd")
        return lambda: multi_mode_dot(core, factors, modes=[0, 1])
    return f


t, noise = tensor(), rng.standard_normal((256, 256, 3, 3)).astype(np.float32)
cases = [(f"truncated SVD k=128, {m}x1024, {kind}", "svd", matrix(m, 1024, kind == "decaying"), 128, 0, svd, 1.0)
         for m in (1024, 4096) for kind in ("gaussian", "decaying")]
cases += [("CP-ALS rank 64, 256x256x3x3, 10 sweeps, low rank + noise", "cp", t, 64, 10, cp(10), 5.0),
          ("CP-ALS rank 64, 256x256x3x3, 10 sweeps, noise", "cp", noise, 64, 10, cp(10), 5.0),
          ("Tucker-2 ranks 64, 256x256x3x3, 10 sweeps, low rank + noise", "tucker", t, 64, 10, tucker(10), 3.0),
          ("Tucker-2 ranks 64, 256x256x3x3, 10 sweeps, noise", "tucker", noise, 64, 10, tucker(10), 3.0)]
print(f"one thread, float32; scikit-learn {sklearn.__version__}, TensorLy {tensorly.__version__}, numpy {np.__version__}; "
      f"medians of {rounds} interleaved rounds (of 3 for CP and Tucker); error = |x - decomposition| / |x|")
print(f"{'':62} {'peer ms':>9} {'ours ms':>9} {'peer/ours':>9} {'wanted':>7} {'peer error':>11} {'our error':>10}")
bad = 0
for name, what, x, rank, sweeps, peer, want in cases:
    x.tofile(bin_dir + "/x")
    p = subprocess.Popen([bin_dir + "/algebra", what, bin_dir + "/x", str(rank), str(sweeps), bin_dir + "/y", *map(str, x.shape)],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    theirs, ours = [], []
    for _ in range(rounds if what == "svd" else min(rounds, 3)):
        begun = time.perf_counter()
        r = peer(x)
        theirs.append((time.perf_counter() - begun) * 1e3)
        p.stdin.write("go\n")
        p.stdin.flush()
        ours.append(float(p.stdout.readline()))
    p.stdin.close()
    p.wait()
    y = np.fromfile(bin_dir + "/y", np.float32).reshape(x.shape)
    size = np.linalg.norm(x)
    e0, e1 = np.linalg.norm(r() - x) / size, np.linalg.norm(y - x) / size
    a, b = np.median(theirs), np.median(ours)
    ok = a / b >= want and e1 <= e0 * 1.005 + 1e-6
    bad += not ok
    print(f"{name:62} {a:9.1f} {b:9.1f} {a / b:9.2f} {want:7.1f} {e0:11.5f} {e1:10.5f}{'' if ok else '  MISSED'}", flush=True)
sys.exit(1 if bad else 0)
